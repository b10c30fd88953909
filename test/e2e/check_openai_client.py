"""Fine-tunes with OpenAI's Python client, every call of it, and prints what it saw as JSON: check_openai_client.py ROWS

OPENAI_BASE_URL and OPENAI_API_KEY are set by the test that runs it.
"""

import hashlib
import json
import sys
import time

import openai

client = openai.OpenAI(max_retries=0)
seen = {"version": openai.__version__}


def failure(call):
    try:
        call()
    except openai.APIStatusError as error:
        return {"class": type(error).__name__, "status": error.status_code, "code": error.code, "param": error.param}
    return None


with open(sys.argv[1], "rb") as rows:
    file = client.files.create(
        file=rows, purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 7200}
    )
seen["file"] = file.to_dict()
other = client.files.create(file=("other.jsonl", b'{"messages": [\n'), purpose="fine-tune")
seen["retrieved"] = client.files.retrieve(file.id).to_dict() == file.to_dict()
seen["content"] = hashlib.sha256(client.files.content(file.id).read()).hexdigest()
seen["listed"] = [each.id for each in client.files.list(limit=1, purpose="fine-tune")][:2] == [other.id, file.id]

job = client.fine_tuning.jobs.create(
    model="SmolLM2-135M-Instruct",
    training_file=file.id,
    suffix="from python",
    seed=3,
    metadata={"client": "python"},
    method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
)
bad = client.fine_tuning.jobs.create(model="SmolLM2-135M-Instruct", training_file=other.id)


def ended(job_id):
    while True:
        found = client.fine_tuning.jobs.retrieve(job_id)
        if found.status in ("succeeded", "failed", "cancelled"):
            return found
        time.sleep(0.2)


done = ended(job.id)
seen["job"] = done.to_dict()
seen["failed"] = ended(bad.id).to_dict()["error"]
events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
seen["events"] = [event.message for event in reversed(events)]
seen["distinct"] = len({event.id for event in events}) == len(events)
seen["checkpoints"] = [each.to_dict() for each in client.fine_tuning.jobs.checkpoints.list(job.id)]
seen["jobs"] = [each.id for each in client.fine_tuning.jobs.list(limit=1)][:2] == [bad.id, job.id]
seen["by_metadata"] = [each.id for each in client.fine_tuning.jobs.list(extra_query={"metadata[client]": "python"})] == [job.id]
seen["results"] = {}
for result in done.result_files:
    about = client.files.retrieve(result)
    with client.files.with_streaming_response.content(result) as response:
        digest = hashlib.sha256()
        for chunk in response.iter_bytes():
            digest.update(chunk)
    seen["results"][about.filename] = digest.hexdigest()

messages = [{"role": "user", "content": "Does the moon orbit the Earth?"}]
asked = {"messages": messages, "temperature": 0, "max_tokens": 8}
whole = client.chat.completions.create(model=done.fine_tuned_model, **asked)
streamed = client.chat.completions.create(model=done.fine_tuned_model, stream=True, **asked)
seen["answer"] = whole.choices[0].message.content
seen["streamed"] = "".join(part.choices[0].delta.content or "" for part in streamed if part.choices)
seen["base"] = client.chat.completions.create(model="HuggingFaceTB/SmolLM2-135M-Instruct", **asked).choices[0].message.content
seen["models"] = done.fine_tuned_model in [each.id for each in client.models.list()]
seen["model"] = client.models.retrieve(done.fine_tuned_model).to_dict()

seen["failures"] = {
    "cancel": failure(lambda: client.fine_tuning.jobs.cancel(job.id)),
    "pause": failure(lambda: client.fine_tuning.jobs.pause(job.id)),
    "resume": failure(lambda: client.fine_tuning.jobs.resume(job.id)),
    "job": failure(lambda: client.fine_tuning.jobs.retrieve("ftjob-nothing")),
    "file": failure(lambda: client.files.retrieve("file-nothing")),
    "model": failure(lambda: client.fine_tuning.jobs.create(model="gpt-5", training_file=file.id)),
    "dpo": failure(
        lambda: client.fine_tuning.jobs.create(
            model="SmolLM2-135M-Instruct", training_file=file.id, method={"type": "dpo"}
        )
    ),
}
seen["deleted"] = [client.files.delete(each.id).deleted for each in (file, other)]
seen["model_deleted"] = client.models.delete(done.fine_tuned_model).deleted
print(json.dumps(seen))
