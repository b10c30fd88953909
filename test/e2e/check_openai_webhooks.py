"""Verifies messages with the openai package: check_openai_webhooks.py MESSAGES SECRET

MESSAGES is a JSON file with a list of `{body, headers}`. Prints what it says of each as it came, and of each with another body.
"""

import json
import sys

import openai

path, secret = sys.argv[1:]
client = openai.OpenAI(api_key="none")


def verdict(body, headers):
    try:
        event = client.webhooks.unwrap(body, headers, secret=secret)
    except openai.InvalidWebhookSignatureError:
        return "refused"
    return [type(event).__name__, event.type, event.data.id]


with open(path) as file:
    messages = json.load(file)
for each in messages:
    each["verdict"] = verdict(each["body"], each["headers"])
    each["tampered"] = verdict(each["body"].replace("ftjob-", "ftjob-0"), each["headers"])
print(json.dumps([[each["verdict"], each["tampered"]] for each in messages]))
