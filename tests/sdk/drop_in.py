"""The official SDKs against potluck: nothing changes but the base URL.

Run by tests/sdk.rs, which starts the simulator and the real binary and passes POTLUCK=http://host:port.
"""

import os
import sys

import anthropic
import openai

BASE = os.environ["POTLUCK"]
MODEL = os.environ["MODEL"]
# What a client calls its key does not matter to a pool that is open to it; it must not reach the upstream either.
CLIENT_KEY = "client-made-this-up"

chat = openai.OpenAI(base_url=f"{BASE}/api/v1", api_key=CLIENT_KEY, max_retries=0)
short = openai.OpenAI(base_url=f"{BASE}/v1", api_key=CLIENT_KEY, max_retries=0)
claude = anthropic.Anthropic(base_url=f"{BASE}/api", api_key=CLIENT_KEY, max_retries=0)
bearer = anthropic.Anthropic(base_url=f"{BASE}/api", auth_token=CLIENT_KEY, api_key=None, max_retries=0)
MESSAGES = [{"role": "user", "content": "Say hello to the potluck."}]


def chat_json():
    answer = chat.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.id.startswith("gen-"), answer
    assert answer.choices[0].message.content, answer
    assert answer.usage.prompt_tokens > 0, answer
    # `cost` is OpenRouter's own member of usage.
    assert answer.usage.model_extra["cost"] > 0, answer


def chat_short_prefix():
    assert short.chat.completions.create(model=MODEL, messages=MESSAGES).choices


def chat_stream():
    text, usage = "", None
    for chunk in chat.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
        usage = chunk.usage or usage
    assert text and usage and usage.completion_tokens > 0, (text, usage)


def responses_json():
    answer = chat.responses.create(model=MODEL, input="Say hello.")
    assert answer.output_text, answer
    assert answer.usage.output_tokens > 0, answer


def responses_stream():
    kinds = [event.type for event in chat.responses.create(model=MODEL, input="Say hello.", stream=True)]
    assert kinds[-1] == "response.completed", kinds
    assert "response.output_text.delta" in kinds, kinds


def embeddings():
    answer = chat.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
    assert len(answer.data) == 2, answer


def models():
    assert any(model.id for model in chat.models.list()), "no models"


def messages_json():
    for client in (claude, bearer):
        answer = client.messages.create(model=MODEL, max_tokens=64, messages=MESSAGES)
        assert answer.content[0].text, answer
        assert answer.usage.output_tokens > 0, answer


def messages_stream():
    with claude.messages.stream(model=MODEL, max_tokens=64, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text and final.stop_reason, (text, final)


def messages_beta():
    answer = claude.beta.messages.create(model=MODEL, max_tokens=64, messages=MESSAGES)
    assert answer.content, answer


def errors_speak_the_sdks_dialect():
    try:
        chat.chat.completions.create(model="no-such/model", messages=MESSAGES)
        raise AssertionError("an unknown model was accepted")
    except openai.BadRequestError as error:
        assert "not a valid model" in str(error), error
    try:
        claude.messages.create(model="no-such/model", max_tokens=64, messages=MESSAGES)
        raise AssertionError("an unknown model was accepted")
    except anthropic.BadRequestError as error:
        assert error.body["type"] == "error", error.body
    try:
        chat.files.list()
        raise AssertionError("the donors' files were listed")
    except (openai.PermissionDeniedError, openai.NotFoundError) as error:
        assert error.code, error


CASES = [
    chat_json,
    chat_short_prefix,
    chat_stream,
    responses_json,
    responses_stream,
    embeddings,
    models,
    messages_json,
    messages_stream,
    messages_beta,
    errors_speak_the_sdks_dialect,
]

failed = 0
for case in CASES:
    try:
        case()
        print(f"ok   {case.__name__}")
    except Exception as error:  # every case is reported, not the first one only
        failed += 1
        print(f"FAIL {case.__name__}: {type(error).__name__}: {error}")
sys.exit(1 if failed else 0)
