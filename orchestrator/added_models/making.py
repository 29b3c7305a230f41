"""From a source to a complete folder of the repository: everything before Triton is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.added_models.conversion import Converter
from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.entry import context_for, make_entry
from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.facts import TEMPLATE, Facts, has_template, read_facts, template_text
from orchestrator.added_models.room import (
    GIB,
    Need,
    available_memory,
    check_disk,
    check_memory,
    kv_cache_gib,
    said,
)
from orchestrator.added_models.source import Engine, Form, Say, Source, find_source
from orchestrator.added_models.store import ModelStore
from orchestrator.added_models.writing import Plan, check_engine, write_model
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.triton.check import check_repositories


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    name: str
    source: str
    engine: Engine = Engine.OPENVINO_GENAI
    like: ModelEntry | None = None
    context: int | None = None
    tool_format: str | None = None
    chat_template: Path | None = None
    precision: str = "fp16"
    memory_here: bool = True  # Triton runs on this machine
    forced: bool = False
    vllm_host: VllmHost = VllmHost()


@dataclass(frozen=True, slots=True)
class Maker:
    store: ModelStore
    converter: Converter
    backends: Path | None
    say: Say

    def make(self, wish: Wish) -> ModelEntry:
        """Puts the folder into the repository and returns the entry that is to be published.

        Raises:
            ModelError: nothing of it is there then.
        """
        source = find_source(wish.source, self.say)
        check_engine(source, wish.engine)
        self._check_disk(source)
        with self.store.staged(wish.name) as folder:
            template = template_text(source.folder, wish.chat_template)
            made = folder.parent / "made"
            made.mkdir()
            if wish.engine is Engine.OPENVINO_GENAI and source.form is Form.HUGGING_FACE:
                source = self.converter.convert(source, made, wish.precision)
            more = []
            if source.form is Form.OPENVINO:
                more = self.converter.complete_tokenizers(source, made)
            facts = read_facts(source.folder)
            entry, plan = self._decide(wish, source, facts, template)
            final = self.store.folder(wish.name)
            written = write_model(source, folder, final, plan, more=more, say=self.say)
            if wish.chat_template is not None or not has_template(written):
                (written / TEMPLATE).write_text(template, "utf-8")
            self._check(folder)
            self.store.place(folder)
        return entry

    def _decide(
        self, wish: Wish, source: Source, facts: Facts, template: str
    ) -> tuple[ModelEntry, Plan]:
        context = context_for(
            wish.name, trained=facts.context_tokens, wanted=wish.context, say=self.say
        )
        cache_gib = kv_cache_gib(context, facts.kv_bytes_per_token)
        plan = Plan(wish.engine, context, cache_gib, wish.vllm_host)
        need = Need(source.weights_bytes(), plan.kv_cache_gib * GIB)
        self.say(
            f"{facts.architecture}, {said(need.weights_bytes)} of weights, {source.form} form, "
            f"for {wish.engine}"
        )
        if wish.engine is Engine.VLLM and not wish.vllm_host.on_cpu:
            self.say("vllm takes its memory from the GPU: whether it fits is seen when it loads")
        elif wish.memory_here and not wish.forced:
            check_memory(need, available_memory())
        entry = make_entry(
            wish.name,
            context=context,
            template=template,
            given_format=wish.tool_format,
            like=wish.like,
            say=self.say,
        )
        return entry, plan

    def _check_disk(self, source: Source) -> None:
        self.store.prepare()
        check_disk(self.store.root, source.weights_bytes())

    def _check(self, folder: Path) -> None:
        """As `fleet triton check` does, in a folder that holds nothing else."""
        alone = folder.parent / "alone"
        alone.mkdir()
        folder.rename(alone / folder.name)
        try:
            found = [p for p in check_repositories([alone], self.backends) if not p.warning]
        finally:
            (alone / folder.name).rename(folder)
        if found:
            raise ModelError(f"what was written is not valid: {found[0]}")
