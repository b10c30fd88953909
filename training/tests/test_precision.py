"""What products are computed in, by the instructions of the CPU."""

import pytest
import torch
from recipe.base_model import load_base
from recipe.precision import native_dtype, rounded_on_cpu
from tiny import write_tiny


@pytest.mark.parametrize("instructions", [{"avx512_bf16": True}, {"amx_bf16": True, "avx512_bf16": False}])
def test_cpus_with_products_of_bfloat16_use_them(monkeypatch, instructions):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert native_dtype("cpu") == torch.bfloat16
    with rounded_on_cpu("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("instructions", [{}, {"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}])
def test_all_others_would_emulate_them(monkeypatch, tmp_path, instructions):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert native_dtype("cpu") == torch.float32
    with rounded_on_cpu("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    write_tiny(tmp_path)
    base, _, _ = load_base(tmp_path / "base")
    assert base.dtype == base.embedding.dtype == torch.float32


def test_gpus_use_bfloat16_and_generators_are_not_rounded_by_autocast():
    assert native_dtype("cuda") == torch.bfloat16
    with rounded_on_cpu("cuda"):
        assert not torch.is_autocast_enabled("cpu")
