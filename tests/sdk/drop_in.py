"""The official SDKs against potluck: nothing changes but the base URL.

Run by tests/sdk.rs, which starts the simulator and the real binary and passes POTLUCK=http://host:port. The words on
the command line name the cases to run.
"""

import asyncio
import os
import sys
import urllib.request

import anthropic
import openai

BASE = os.environ["POTLUCK"]
MODEL = "openai/gpt-4o-mini"
EMBEDDER = "openai/text-embedding-3-small"
# What a client calls its key does not matter to a pool that is open to it; it must not reach the upstream either. One that is
# for holders of a client key takes that, or a token.
CLIENT_KEY = os.environ.get("CLIENT_KEY", "client-made-this-up")
OTHER_MODEL = "anthropic/claude-sonnet-4.5"

chat = openai.OpenAI(base_url=f"{BASE}/api/v1", api_key=CLIENT_KEY, max_retries=0)
short = openai.OpenAI(base_url=f"{BASE}/v1", api_key=CLIENT_KEY, max_retries=0)
patient = openai.OpenAI(base_url=f"{BASE}/api/v1", api_key=CLIENT_KEY, max_retries=3)
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
    chunks = list(short.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    assert chunks[-1].usage, chunks
    assert any(model.id for model in short.models.list()), "no models"


def chat_async():
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{BASE}/api/v1", api_key=CLIENT_KEY, max_retries=0) as client:
            create = client.chat.completions.create
            return await asyncio.gather(*(create(model=MODEL, messages=MESSAGES) for _ in range(8)))

    answers = asyncio.run(ask())
    assert len({answer.id for answer in answers}) == 8, answers


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
    answer = chat.embeddings.create(model=EMBEDDER, input=["one", "two"], encoding_format="float")
    assert len(answer.data) == 2 and answer.data[0].embedding, answer
    assert answer.usage.prompt_tokens > 0, answer


def models():
    assert any(model.id for model in chat.models.list()), "no models"


def messages_json():
    for client in (claude, bearer):
        answer = client.messages.create(model=MODEL, max_tokens=64, messages=MESSAGES)
        assert answer.content[0].text, answer
        assert answer.usage.output_tokens > 0, answer


def messages_stream():
    text = ""
    with claude.messages.stream(model=MODEL, max_tokens=64, messages=MESSAGES) as stream:
        for event in stream:
            if event.type == "text":
                text += event.text
            if event.type == "message_stop":
                break
        final = stream.current_message_snapshot
    assert text and final.stop_reason and final.usage.output_tokens > 0, (text, final)


def messages_stream_past_its_end():
    """OpenRouter ends these streams with `event: data`, `data: [DONE]`. An SDK may stumble over that (anthropic 2.12.0
    raises a JSONDecodeError); potluck passes it on untouched, so what comes of it is the same with and without."""

    def outcome(client):
        text = ""
        try:
            with client.messages.stream(model=MODEL, max_tokens=64, messages=MESSAGES) as stream:
                for part in stream.text_stream:
                    text += part
            return bool(text), "ended"
        except Exception as error:  # whichever it is, it must be the same one
            return bool(text), f"{type(error).__name__}: {error}"

    direct = anthropic.Anthropic(base_url=os.environ["DIRECT"], api_key=os.environ["DIRECT_KEY"], max_retries=0)
    pooled, alone = outcome(claude), outcome(direct)
    assert pooled == alone and pooled[0], (pooled, alone)


def messages_beta():
    answer = claude.beta.messages.create(model=MODEL, max_tokens=64, messages=MESSAGES)
    assert answer.content, answer


def refused(kind, call, **arguments):
    """The error of that kind that a call raises."""
    try:
        answer = call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"accepted: {answer}")


def count_tokens():
    refused(anthropic.NotFoundError, claude.messages.count_tokens, model=MODEL, messages=MESSAGES)


def bad_requests_speak_the_sdks_dialect():
    error = refused(openai.BadRequestError, chat.chat.completions.create, model="no-such/model", messages=MESSAGES)
    assert "not a valid model" in error.message and error.body["message"], error
    error = refused(openai.BadRequestError, chat.responses.create, model="no-such/model", input="hello")
    assert "not a valid model" in error.message, error
    error = refused(
        anthropic.BadRequestError, claude.messages.create, model="no-such/model", max_tokens=64, messages=MESSAGES
    )
    assert error.body["type"] == "error" and error.body["error"]["type"], error.body


def what_is_the_donors_stays_closed():
    error = refused((openai.PermissionDeniedError, openai.NotFoundError), chat.files.list)
    assert error.code, error


def a_provider_in_trouble_is_told_as_such():
    for call in (chat.chat.completions.create, short.chat.completions.create):
        error = refused(openai.RateLimitError, call, model="sim/error-429-provider", messages=MESSAGES)
        assert error.body["message"], error
    error = refused(
        anthropic.RateLimitError, claude.messages.create, model="sim/error-429-provider", max_tokens=64, messages=MESSAGES
    )
    assert error.body["error"]["type"] == "rate_limit_error", error.body


def a_trouble_in_mid_stream_raises():
    stream = chat.chat.completions.create(model="sim/fixture-7", messages=MESSAGES, stream=True)
    refused(openai.APIError, lambda: list(stream))


def no_key_is_a_503_of_the_sdks_own():
    """In a pool without keys."""
    calls = [
        (openai.InternalServerError, chat.chat.completions.create, {"messages": MESSAGES}),
        (openai.InternalServerError, chat.chat.completions.create, {"messages": MESSAGES, "stream": True}),
        (openai.InternalServerError, short.responses.create, {"input": "hello"}),
        (openai.InternalServerError, chat.embeddings.create, {"input": "hello"}),
        (anthropic.APIStatusError, claude.messages.create, {"messages": MESSAGES, "max_tokens": 64}),
        (anthropic.APIStatusError, bearer.messages.create, {"messages": MESSAGES, "max_tokens": 64, "stream": True}),
    ]
    for kind, call, arguments in calls:
        error = refused(kind, call, model=MODEL, **arguments)
        assert error.status_code == 503 and "key" in error.message, error
        assert isinstance(error.body, dict), error.body
        if kind is anthropic.APIStatusError:
            assert error.body["type"] == "error" and error.body["error"]["type"], error.body
            assert "key" in error.body["error"]["message"], error.body
        else:
            assert "key" in error.body["message"], error.body


def a_key_that_is_due_back_is_worth_a_retry():
    """In a pool whose only key is limited for a moment: the SDK keeps to Retry-After and succeeds."""
    assert patient.chat.completions.create(model=MODEL, messages=MESSAGES).choices


def every_call(kind_of_openai, kind_of_anthropic, model=MODEL):
    """The errors that the SDKs raise for chat, responses and messages, streamed and not."""
    calls = [
        (kind_of_openai, chat.chat.completions.create, {"messages": MESSAGES}),
        (kind_of_openai, short.chat.completions.create, {"messages": MESSAGES, "stream": True}),
        (kind_of_openai, chat.responses.create, {"input": "hello"}),
        (kind_of_anthropic, claude.messages.create, {"messages": MESSAGES, "max_tokens": 64}),
        (kind_of_anthropic, bearer.messages.create, {"messages": MESSAGES, "max_tokens": 64, "stream": True}),
    ]
    return [refused(kind, call, model=model, **arguments) for kind, call, arguments in calls]


def no_key_is_an_authentication_error():
    """Whatever a client calls its key that is none of the pool's."""
    for error in every_call(openai.AuthenticationError, anthropic.AuthenticationError):
        assert error.status_code == 401 and "client key" in error.message, error
        assert error.response.headers["x-request-id"], error
    refused(openai.AuthenticationError, chat.models.list)


def a_wrong_key_is_an_authentication_error():
    """Unknown, mistyped or revoked: the pool tells nobody which. Ten in a minute would be guessing."""
    refused(openai.AuthenticationError, chat.chat.completions.create, model=MODEL, messages=MESSAGES)
    refused(
        anthropic.AuthenticationError, claude.messages.create, model=MODEL, max_tokens=64, messages=MESSAGES, stream=True
    )


def a_model_not_allowed_is_a_permission_error():
    for error in every_call(openai.PermissionDeniedError, anthropic.PermissionDeniedError, OTHER_MODEL):
        assert error.status_code == 403 and "model" in error.message, error


def models_are_those_that_may_be_used():
    models = [model.id for model in chat.models.list()]
    assert MODEL in models and all(model.startswith("openai/") for model in models), models
    refused(openai.PermissionDeniedError, chat.chat.completions.create, model=OTHER_MODEL, messages=MESSAGES)


def a_revocation_ends_an_open_stream():
    """And the key opens nothing any more."""
    endless = "sim/play?gap_ms=20&output_tokens=5000&stops_on_cancel=true"
    streams = [
        (openai, chat.chat.completions.create(model=endless, messages=MESSAGES, stream=True)),
        (anthropic, claude.messages.create(model=endless, messages=MESSAGES, max_tokens=5000, stream=True)),
    ]
    for _, stream in streams:
        next(iter(stream))
    revoke = urllib.request.Request(
        f"{os.environ['ADMIN']}/clients/{os.environ['CLIENT_ID']}",
        method="DELETE",
        data=b"{}",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(revoke) as answer:
        assert answer.status == 200
    for kind, stream in streams:
        # The connection ends without the body's proper end; what an SDK calls that is its own.
        error = refused(Exception, lambda: list(stream))
        assert not isinstance(error, kind.APIStatusError), error
    a_wrong_key_is_an_authentication_error()


failed = 0
for case in (globals()[name] for name in sys.argv[1:]):
    try:
        case()
        print(f"ok   {case.__name__}")
    except Exception as error:  # every case is reported, not the first one only
        failed += 1
        print(f"FAIL {case.__name__}: {type(error).__name__}: {error}")
sys.exit(1 if failed else 0)
