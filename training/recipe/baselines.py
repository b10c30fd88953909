"""What generated adapters of tasks have to beat: prompts with examples, similar labels, the nearest LoRA, LoRAs for all tasks together."""

from __future__ import annotations

import random

import torch
from torch import Tensor
from tqdm import tqdm

from .encoder import TextEncoder
from .files import log_line, save_whole
from .lora_tuning import Helpings, RowSource, tune
from .run import Run
from .tasks.task import Task


def with_unlabeled(prompts: list[str], texts: list[str], count: int) -> list[str]:
    """What a generator gets, before each input: the first `count` texts of a condition."""
    shown = "\n\n".join(texts[:count])
    return [f"{shown}\n\n{prompt}" for prompt in prompts]


def with_shots(prompts: list[str], rows: list[dict], task: Task, count: int) -> list[str]:
    """The instruction and labelled rows before each input."""
    chosen = random.Random(f"{task.name}/shots").sample(rows, min(count, len(rows)))
    own = {row["asked"]: row for row in chosen}
    pairs = "\n\n".join(f"Input: {row['bare']}\nAnswer: {row['response']}" for row in own.values())
    return [f"{task.wordings[0]}\n\n{pairs}\n\nInput: {prompt}\nAnswer:" for prompt in prompts]


class LabelSimilarity:
    """Chooses the allowed answer whose embedding is nearest to the input's; embeddings are means over a text's tokens."""

    def __init__(self, encoder: TextEncoder):
        self.encoder = encoder

    def right(self, rows: list[dict]) -> list[float]:
        choices = rows[0]["choices"]
        labels, inputs = self._embed(choices), self._embed([row["prompt"] for row in rows])
        chosen = (inputs @ labels.T).argmax(1).tolist()
        return [float(choices[index] == row["response"]) for index, row in zip(chosen, rows)]

    def _embed(self, texts: list[str]) -> Tensor:
        states = self.encoder(texts, full=True)
        mask = torch.tensor([one.attention_mask for one in self.encoder.tokenizer.encode_batch(texts)])[..., None]
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def nearest(states: Tensor, means: dict[str, Tensor]) -> str:
    """The task whose prompts' mean state [width] is nearest to that of `states` [texts, tokens, width], by cosine around the mean of all."""
    names, stacked = list(means), torch.stack(list(means.values()))
    centre = stacked.mean(0)
    similar = torch.nn.functional.cosine_similarity(stacked - centre, states.float().mean((0, 1)) - centre)
    return names[int(similar.argmax())]


def multi_task(run: Run) -> None:
    """
    Writes `multi-task/<bare|instructed>-<seed>.pt`: LoRAs of all training tasks, whose rows have the bare input or the instruction too. As
    many tokens as the settings of `collect` say.
    """
    options = run.settings.collect
    names = [name for name in run.training_sets(run.generators()["generator"]) if name in run.tasks.tasks]
    for key, field in (("bare", "bare"), ("instructed", "asked")):
        sources = None
        for seed in run.settings.judge.seeds:
            path = run.work / "multi-task" / f"{key}-{seed}.pt"
            if path.exists():
                continue
            sources = sources or [_source(run, name, field) for name in names]
            sizes = (options.multi_task_sets_a_step, options.multi_task_rows, options.multi_task_tokens)
            helpings = Helpings({f"multi-task/{key}": sources}, options.multi_task_steps, *sizes, seed)
            losses: list[float] = []
            with tqdm(total=options.multi_task_steps, desc=f"multi-task {key} {seed}", mininterval=5) as bar:

                def on_step(loss: Tensor) -> None:
                    losses.append(loss.item())
                    bar.update()

                (chunks,) = tune(run.base, run.layout, helpings, lr=options.lr, seed=seed, on_step=on_step)[-1]
            save_whole(chunks, path)
            log_line(run.work / "multi-task.log.jsonl", lora=f"{key}-{seed}", tasks=len(names), loss=round(sum(losses[-10:]) / len(losses[-10:]), 4))


def _source(run: Run, name: str, field: str) -> RowSource:
    rows = [{**row, "prompt": row[field]} for row in run.sets[name].train]
    run.chat.tokenize(rows)
    return RowSource(rows, run.chat)
