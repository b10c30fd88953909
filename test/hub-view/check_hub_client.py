"""Reads a repository with huggingface_hub and prints what it saw as JSON: check_hub_client.py REPOSITORY FIRST_COMMIT

HF_ENDPOINT, HF_TOKEN and HF_HOME are set by the test that runs it.
"""

import hashlib
import json
import os
import sys

import huggingface_hub as hub
from huggingface_hub import errors

repository, first_commit = sys.argv[1:]
seen = {"version": hub.__version__}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def failure(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


folder = hub.snapshot_download(repository)
seen["snapshot"] = {name: digest(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
seen["commit"] = os.path.basename(folder)
old = hub.snapshot_download(repository, revision=first_commit)
seen["old"] = digest(os.path.join(old, "adapter_model.safetensors"))
seen["downloaded"] = digest(hub.hf_hub_download(repository, "adapter_model.safetensors", cache_dir="other"))
info = hub.model_info(repository, files_metadata=True)
seen["info"] = {
    "sha": info.sha,
    "private": info.private,
    "library": info.library_name,
    "base": info.card_data.base_model,
    "blobs": {each.rfilename: each.blob_id for each in info.siblings},
}
seen["files"] = hub.list_repo_files(repository)
seen["paths"] = [each.path for each in hub.HfApi().get_paths_info(repository, ["README.md", "none"])]
seen["exist"] = [
    hub.file_exists(repository, "adapter_config.json"),
    hub.file_exists(repository, "config.json"),
    hub.repo_exists(repository),
    hub.repo_exists(repository + "-none"),
    hub.revision_exists(repository, "dev"),
]
seen["card"] = hub.ModelCard.load(repository).data.to_dict()
# A browser of files, as dataframe libraries and model servers use it.
seen["listed"] = hub.HfFileSystem().ls(repository, detail=False)
seen["part"] = hub.HfFileSystem().read_block(f"{repository}/README.md", 0, 3).decode()

hidden = repository.replace("team-a", "team-b")
seen["failures"] = {
    "repository": failure(lambda: hub.hf_hub_download(repository + "-none", "x.json")),
    "stranger": failure(lambda: hub.snapshot_download(hidden)),
    "revision": failure(lambda: hub.snapshot_download(repository, revision="0" * 40)),
    "entry": failure(lambda: hub.hf_hub_download(repository, "config.json")),
    "no key": failure(lambda: hub.model_info(repository, token=False)),
    "wrong key": failure(lambda: hub.model_info(repository, token="hf_wrong")),
}
assert issubclass(errors.RemoteEntryNotFoundError, errors.EntryNotFoundError)
print(json.dumps(seen))
