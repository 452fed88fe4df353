"""A language model in context: a tiny transformer with random weights, and a tokenizer of characters."""

import dataclasses
import sys

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

import quickstudy as qs

TEXTS = ["hello there", "hi", "good day to you", "bye", "see you later", "so long"]


class Characters:
    """A tokenizer that knows 60 characters."""

    bos_token_id = 1

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [2 + ord(character) % 60 for character in text]}


def tiny(kind: str = "llama"):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 1, "pad_token_id": 0}
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    else:  # with windows, and positions of two kinds
        model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, sliding_window=512))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # so that what is read shows in what is said
    return model.eval()


def learner(kind: str = "llama", labels=("A", "B", "C"), **settings) -> qs.LanguageModelInContext:
    return qs.LanguageModelInContext(tiny(kind), Characters(), labels=labels, **settings).eval()


def episodes(one: qs.LanguageModelInContext) -> qs.Episodes:
    """Two tasks of three classes, with two examples of each, and two queries."""
    x = one.tokens(TEXTS)
    support = torch.stack([x, x.flip(0)])
    y = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 1, 2]])
    query = torch.stack([x[[5, 1]], x[[0, 3]]])
    return qs.Episodes(qs.Examples(support, y, 3), qs.Examples(query, y[:, :2], 3))


def whole_prompt(one: qs.LanguageModelInContext, shots, question: str, labels) -> torch.Tensor:
    """The log-probability of each label behind one prompt, read from its beginning for each."""
    written = "".join(f"Text:{text}\nLabel:{labels[y]}\n\n" for text, y in shots) + f"Text:{question}\nLabel:"
    prompt, found = [1, *one.template.ids(written)], []
    for label in labels:
        ids = one.template.ids(label)
        logits = one.model(input_ids=torch.tensor([prompt + ids])).logits.log_softmax(-1)[0]
        found.append(sum(logits[len(prompt) - 1 + n, token] for n, token in enumerate(ids)))
    return torch.stack(found).log_softmax(-1)


@pytest.mark.parametrize("kind", ["llama", "gemma"])
@pytest.mark.parametrize("labels", [("A", "B", "C"), ("greeting", "bye", "wish")])
@torch.no_grad()
def test_with_a_cache_it_says_what_it_says_of_the_whole_prompt(kind, labels):
    one = learner(kind, labels, content_free=("N/A", "-"))
    some = episodes(one)
    probs = one.predict(one.adapt(some.support), some.query.x).probs
    for task, texts in enumerate((TEXTS, TEXTS[::-1])):
        shots = list(zip(texts, some.support.y[task].tolist(), strict=True))
        free = torch.stack([whole_prompt(one, shots, text, labels).exp() for text in ("N/A", "-")]).mean(0)
        for place, question in enumerate(((TEXTS[5], TEXTS[1]), (TEXTS[0], TEXTS[3]))[task]):
            said = whole_prompt(one, shots, question, labels).exp() / free
            torch.testing.assert_close(probs[task, place], said / said.sum(), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_it_keeps_the_contract():
    one = learner()
    some = episodes(one)
    memory = one.adapt(some.support)
    predicted = one.predict(memory, some.query.x)
    assert predicted.batch_shape == (2, 2)
    assert all(len(part) == 2 for part in memory.values())
    assert memory["key.1"].shape[1] == 1  # one head of keys
    for task, episode in enumerate(some):
        alone = one.predict(one.adapt(episode.support), episode.query.x[:, :1])
        torch.testing.assert_close(alone.probs[0, 0], predicted.probs[task, 0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(predicted.probs[0], predicted.probs[1], atol=1e-3)
    assert not one.transductive


@torch.no_grad()
def test_padding_behind_a_mask_and_behind_texts_changes_nothing():
    one = learner()
    some = episodes(one)
    support, wider = some.support, torch.nn.functional.pad(some.support.x, (0, 3, 0, 1), value=-1)
    wider[:, -1] = some.support.x[:, 0, :1]
    y = torch.nn.functional.pad(support.y, (0, 1))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[:, -1] = False
    padded = one.predict(one.adapt(qs.Examples(wider, y, 3, mask=mask)), some.query.x)
    plain = one.predict(one.adapt(support), some.query.x)
    torch.testing.assert_close(padded.probs, plain.probs, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_memory_survives_save_and_load(tmp_path):
    one = learner()
    some = episodes(one)
    memory = one.adapt(some.support)
    qs.save_memory(memory, tmp_path / "memory.safetensors")
    again = one.predict(qs.load_memory(tmp_path / "memory.safetensors"), some.query.x)
    assert torch.equal(again.probs, one.predict(memory, some.query.x).probs)


def test_training_goes_through_the_cache_to_every_weight_and_lowers_the_loss():
    one = learner().train()
    some = episodes(one)
    adam, losses = torch.optim.Adam(one.parameters(), lr=0.01), []
    for _ in range(15):
        adam.zero_grad()
        loss = one.loss(some)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in one.parameters())
    assert losses[-1] < 0.8 * losses[0]


def test_tasks_of_more_classes_than_labels_and_labels_without_tokens_are_refused():
    one = learner(labels=("A", "B"))
    some = episodes(one)
    with pytest.raises(ValueError, match="there are labels for 2 classes; the tasks have 3. Pass labels for more"):
        one.adapt(some.support)
    with pytest.raises(ValueError, match="labels, texts without content and what lies between have tokens each"):
        learner(labels=("A", ""))


def test_a_prompt_that_is_too_long_is_refused_and_a_missing_package_named(monkeypatch):
    one = learner()
    some = episodes(one)
    one.model.config.max_position_embeddings = 100
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens, and the model sees 100; show fewer examples"):
        one.adapt(some.support)
    one.model.config.max_position_embeddings = 1000
    memory = one.adapt(some.support)
    one.model.config.max_position_embeddings = memory["exists"].shape[1] + 1
    with pytest.raises(ValueError, match=r"the prompt with a query and its label has \d+ tokens, and the model sees"):
        one.predict(memory, some.query.x)
    one.model.config.max_position_embeddings = 1000
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[language-models\]'"):
        one.adapt(some.support)


@torch.no_grad()
def test_nothing_need_be_written_before_a_text_or_behind_a_label():
    one = learner(before="", after="")
    some = episodes(one)
    written = one.template.written(some.support.x, some.support.y)[0, 1]
    assert written[written >= 0].tolist() == one.template.ids("hi\nLabel:B")
    assert one.predict(one.adapt(some.support), some.query.x).probs.isfinite().all()


def test_fewer_classes_than_labels_are_answered_among_themselves():
    one = learner(labels=("A", "B", "C", "D"))
    some = episodes(one)
    three = learner(labels=("A", "B", "C"))
    with torch.no_grad():
        many, few = (each.predict(each.adapt(some.support), some.query.x).probs for each in (one, three))
    torch.testing.assert_close(many, few)
    assert dataclasses.asdict(some.support)["ways"] == 3
