"""Checks of our own beside those of Schemathesis (loaded by SCHEMATHESIS_HOOKS).

A schema cannot say which addresses may be called, what a Parquet file is, or which buckets the operator allows. So the
configuration lets valid data be refused with 400, 413, 415 and 422, and the first check holds such a refusal to more: it may
not say that the request does not fit the document.
"""

import json

import schemathesis

# Failures that mean: this is not what the document asks for.
UNFIT = {"request-invalid", "field-unknown", "id-invalid", "json-invalid", "url-invalid", "request-malformed"}


def problem_of(response):
    """The problem that is the answer, or the failure in OpenAI's shape."""
    kind = (response.headers.get("content-type") or [""])[0]
    if response.status_code < 400 or "json" not in kind or not response.content:
        return None
    answer = json.loads(response.content)
    return answer if "code" in answer else answer.get("error")


@schemathesis.check
def valid_data_fits(ctx, response, case):
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code >= 500:
        return
    if "__proto__" in json.dumps(case.body if isinstance(case.body, (dict, list)) else None):
        return  # Refused as a key anywhere in a body, which a schema cannot say of rows of any form.
    problem = problem_of(response)
    if problem and problem["code"] in UNFIT:
        raise AssertionError(f"valid data was refused as {problem['code']}: {problem}")


@schemathesis.check
def problem_is_documented(ctx, response, case):
    problem = problem_of(response)
    if problem is None:
        return
    documented = case.operation.definition.raw.get("responses", {}).get(str(response.status_code))
    if documented is None:
        return
    if f"`{problem['code']}`" not in documented["description"]:
        raise AssertionError(f"{response.status_code} {problem['code']} is not documented here")
