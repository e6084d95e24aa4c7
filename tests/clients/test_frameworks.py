"""openai-agents, langchain-openai and pydantic-ai: text, tool loops, reasoning, failures."""

from __future__ import annotations

import asyncio
import os

import pytest

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

from agents import Agent, OpenAIResponsesModel, Runner, function_tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticModel
from pydantic_ai.providers.openai import OpenAIProvider


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"rain in {city}"


class TestAgents:
    """The OpenAI Agents SDK."""

    @pytest.fixture
    def agent(self, base_url):
        client = AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0)
        model = OpenAIResponsesModel(model="m", openai_client=client)
        return Agent(name="a", instructions="Be brief.", tools=[function_tool(get_weather)], model=model)

    @staticmethod
    def stream(agent, question):
        async def ask():
            result = Runner.run_streamed(agent, question)
            deltas = [
                event.data.delta
                async for event in result.stream_events()
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
            ]
            return result, "".join(deltas)

        return asyncio.run(ask())

    def test_text(self, agent):
        result = asyncio.run(Runner.run(agent, "hello"))
        assert result.final_output == "A plain answer of a few words."
        assert result.context_wrapper.usage.total_tokens > 0

    def test_streamed_text(self, agent):
        result, text = self.stream(agent, "hello")
        assert text == result.final_output

    def test_a_tool_loop(self, agent):
        result = asyncio.run(Runner.run(agent, "weather please"))
        kinds = [item.type for item in result.new_items]
        assert kinds == ["tool_call_item", "tool_call_output_item", "message_output_item"]

    def test_a_streamed_loop_with_two_calls(self, agent):
        result, text = self.stream(agent, "two cities")
        assert [item.type for item in result.new_items].count("tool_call_item") == 2
        assert "umbrella" in text

    def test_streamed_reasoning(self, agent):
        result, _ = self.stream(agent, "ponder this")
        assert "reasoning_item" in [item.type for item in result.new_items]

    @pytest.mark.parametrize("question", ["break with 500", "break in the middle"])
    def test_a_failure_is_raised_and_is_none_of_parsing(self, agent, question):
        with pytest.raises(Exception, match=r"(?i)crashed|response\.failed|broke off|terminal event") as caught:
            self.stream(agent, question)
        assert caught.type.__name__ not in ("ValidationError", "KeyError", "TypeError", "AttributeError")


class TestLangChain:
    """ChatOpenAI over the Responses API."""

    @pytest.fixture
    def chat(self, base_url):
        return ChatOpenAI(model="m", base_url=base_url, api_key="any", use_responses_api=True, max_retries=0)

    @staticmethod
    def stream(chat, question):
        whole = None
        for chunk in chat.stream(question):
            whole = chunk if whole is None else whole + chunk
        return whole

    def test_text(self, chat):
        answer = chat.invoke("hello")
        assert answer.text == "A plain answer of a few words."
        assert answer.usage_metadata["total_tokens"] > 0

    def test_streamed_text(self, chat):
        answer = self.stream(chat, "hello")
        assert answer.text == "A plain answer of a few words."
        assert answer.response_metadata["status"] == "completed"

    def test_streamed_calls(self, chat):
        answer = self.stream(chat.bind_tools([get_weather]), "two cities")
        assert [call["args"]["city"] for call in answer.tool_calls] == ["Lyon", "Porto"]

    def test_streamed_reasoning(self, base_url):
        chat = ChatOpenAI(
            model="m", base_url=base_url, api_key="any", use_responses_api=True, max_retries=0,
            output_version="responses/v1", reasoning={"effort": "low", "summary": "auto"},
        )  # fmt: skip
        assert "reasoning" in [part["type"] for part in self.stream(chat, "ponder this").content]


class TestPydanticAI:
    """pydantic-ai's Responses model."""

    @pytest.fixture
    def agent(self, base_url):
        provider = OpenAIProvider(base_url=base_url, api_key="any")
        agent = PydanticAgent(PydanticModel("m", provider=provider), instructions="Be brief.")
        agent.tool_plain(get_weather)
        return agent

    @staticmethod
    def stream(agent, question):
        async def ask():
            async with agent.run_stream(question) as result:
                return await result.get_output(), [
                    part.part_kind for message in result.all_messages() for part in message.parts
                ]

        return asyncio.run(ask())

    def test_text(self, agent):
        assert agent.run_sync("hello").output == "A plain answer of a few words."

    def test_a_tool_loop(self, agent):
        assert "umbrella" in agent.run_sync("weather please").output

    def test_streamed_text(self, agent):
        assert self.stream(agent, "hello")[0] == "A plain answer of a few words."

    def test_a_streamed_loop(self, agent):
        assert "umbrella" in self.stream(agent, "two cities")[0]

    def test_streamed_reasoning(self, agent):
        assert "thinking" in self.stream(agent, "ponder this")[1]
