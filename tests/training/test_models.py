"""The models: the paper's sizes, positions, start and round trip."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from singsong.training import fine_model
from singsong.training.accompaniment_model import (
    AccompanimentConfig,
    AccompanimentModel,
    target_logits,
)
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import ACCOMPANIMENT, FINE, preset
from singsong.training.t5_layers import DroppedValues, SharedDropout, sinusoids
from tests.support.trained import FINE_VOCABULARY, VOCABULARY, small_accompaniment, small_fine


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY.size, shape, generator=generator)


@pytest.mark.parametrize(("name", "parameters"), [("base", 206.1e6), ("xl", 2739.1e6)])
def test_the_paper_s_models_have_their_size(name: str, parameters: float) -> None:
    with torch.device("meta"):
        model = AccompanimentModel(
            AccompanimentConfig(vocab_size=5122, **preset(ACCOMPANIMENT, name))
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e5) == round(parameters / 1e5)


def test_the_fine_model_has_151_million_parameters_and_its_embeddings() -> None:
    with torch.device("meta"):
        model = FineModel(FineConfig(vocab_size=12290, **preset(FINE, "base")))
    count = sum(parameter.numel() for parameter in model.parameters())
    embeddings = 2 * 12290 * 1024
    assert round((count - embeddings) / 1e6) == 151


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"preset must be one of \['base', 'tiny'\], found 'xl'"):
        preset(FINE, "xl")


def test_sinusoids_are_those_of_a_plain_loop() -> None:
    found = sinusoids(torch.arange(7, 10), width=6)
    for row, position in enumerate((7, 8, 9)):
        for index in range(3):
            angle = position * math.exp(-math.log(1e4) * index / 2)
            assert found[row, index].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[row, 3 + index].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_with_relative_positions_it_is_the_t5_of_transformers() -> None:
    model = small_accompaniment(relative_positions=True)
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY.size,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=1,
            attn_implementation="eager",
            **preset(ACCOMPANIMENT, "tiny"),
        )
    ).eval()
    weights = {
        name: value for name, value in model.state_dict().items() if name != "lm_head.weight"
    }
    missing = theirs.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["lm_head.weight"]
    source, target = tokens(2, 7), tokens(2, 9, seed=1)
    expected = theirs(
        input_ids=source, decoder_input_ids=theirs._shift_right(target), output_hidden_states=True
    ).decoder_hidden_states[-1]
    found = model(
        input_ids=source, decoder_input_ids=model._shift_right(target), output_hidden_states=True
    ).decoder_hidden_states[-1]
    torch.testing.assert_close(found, expected)
    # The logits have weights of their own, and no 1 / sqrt(width).
    torch.testing.assert_close(
        target_logits(model, source, target), expected @ model.lm_head.weight.T
    )


def test_fixed_positions_have_no_weights_and_take_no_attention_bias() -> None:
    fixed, relative = small_accompaniment(), small_accompaniment(relative_positions=True)
    extra = relative.state_dict().keys() - fixed.state_dict().keys()
    assert len(extra) == 2
    assert all("relative_attention_bias" in name for name in extra)
    attention = fixed.decoder.block[0].layer[0].SelfAttention
    _, bias, _ = attention(torch.zeros(1, 3, 64))
    assert bias is None


@pytest.mark.parametrize("relative_positions", [False, True])
def test_fused_attention_is_plain_attention(relative_positions: bool) -> None:
    model = small_accompaniment(relative_positions=relative_positions)
    source, target = tokens(2, 7), tokens(2, 9, seed=1)
    fused = target_logits(model, source, target)
    assert model.decoder.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    torch.testing.assert_close(target_logits(model, source, target), fused)


def test_all_positions_share_a_mask_of_dropout_but_those_that_the_encoder_returns() -> None:
    model = small_accompaniment(relative_positions=True)
    for decoder in (model.decoder, small_fine()):
        assert not [module for module in decoder.modules() if type(module) is torch.nn.Dropout]
    (last,) = [module for module in model.modules() if type(module) is torch.nn.Dropout]
    encoder, last.p = model.encoder.train(), 0.5
    for module in encoder.modules():
        if isinstance(module, SharedDropout):
            module.p = 0.5
        if isinstance(module, DroppedValues):
            module.rate = 0.0
    for block in encoder.block:  # then a mask of the embeddings is seen in what comes out
        for layer in block.layer:
            layer.dropout.p = 1.0
    dropped = encoder(tokens(1, 7)).last_hidden_state[0].eq(0)
    assert dropped.all(0).any()
    assert (dropped.any(0) & ~dropped.all(0)).any()


def test_all_queries_share_a_mask_of_the_attention_weights() -> None:
    attention = small_accompaniment().train().decoder.block[0].layer[0].SelfAttention
    hidden = torch.randn(2, 7, 64)
    torch.manual_seed(1)
    found, *_ = attention(hidden)
    torch.manual_seed(1)
    kept = torch.nn.functional.dropout(torch.ones(2, 7, attention.n_heads, 1), 0.1)
    assert kept.eq(0).any()
    query, key, value = (
        torch.nn.functional.linear(hidden, layer.weight).unflatten(-1, (4, 16)).transpose(1, 2)
        for layer in (attention.q, attention.k, attention.v)
    )
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    weights = (query @ key.mT).masked_fill(future, -math.inf).softmax(-1)
    dropped = weights * kept.permute(0, 2, 3, 1)
    expected = attention.o((dropped @ value).transpose(1, 2).flatten(-2))
    torch.testing.assert_close(found, expected)


def test_shared_dropout_scales_what_it_keeps_and_differs_from_row_to_row() -> None:
    dropout = SharedDropout(0.5)
    out = dropout(torch.ones(2, 5, 64))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert out.eq(out[:, :1]).all()
    assert not out[0].eq(out[1]).all()
    hidden = torch.randn(2, 7, 64)
    assert dropout.eval()(hidden).equal(hidden)


@pytest.mark.parametrize("relative_positions", [False, True])
def test_order_matters_and_the_future_does_not(relative_positions: bool) -> None:
    """An encoder without positions would give the same logits, up to rounding, for any order."""
    torch.manual_seed(0)
    model = small_accompaniment(relative_positions=relative_positions)
    source, target = tokens(1, 7), tokens(1, 9, seed=1)
    logits = target_logits(model, source, target)
    turned = target_logits(model, source.flip(1), target)
    assert (turned - logits)[:, 0].abs().max() > 0.01
    changed = target.clone()
    changed[:, 5] = 2 if target[0, 5] != 2 else 3
    after = target_logits(model, source, changed)
    torch.testing.assert_close(after[:, :6], logits[:, :6])
    assert (after - logits)[:, 6].abs().max() > 0.01


def test_fixed_positions_are_added_to_the_embeddings_of_both_stacks() -> None:
    """As T5 of `transformers` that reads their sum and has no bias in its attention."""
    torch.manual_seed(0)
    model = small_accompaniment()
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY.size,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            attn_implementation="eager",
            **preset(ACCOMPANIMENT, "tiny"),
        )
    ).eval()
    theirs.load_state_dict(model.state_dict(), strict=False)
    for stack in (theirs.encoder, theirs.decoder):
        torch.nn.init.zeros_(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    source, target = tokens(2, 7), tokens(2, 9, seed=1)
    started = torch.cat([torch.ones(2, 1, dtype=torch.int64), target[:, :-1]], 1)
    wavelengths = 1e4 ** (np.arange(32) / 31)
    read = []
    for sequence in (source, started):
        angles = np.arange(sequence.shape[1])[:, None] / wavelengths
        table = np.concatenate([np.sin(angles), np.cos(angles)], 1)
        read.append(model.shared(sequence) + torch.from_numpy(table).float())
    expected = theirs(
        inputs_embeds=read[0], decoder_inputs_embeds=read[1], output_hidden_states=True
    ).decoder_hidden_states[-1]
    torch.testing.assert_close(
        target_logits(model, source, target), expected @ model.lm_head.weight.T
    )


def test_fine_logits_start_where_the_coarse_tokens_end() -> None:
    model = small_fine()
    source = torch.randint(2, FINE_VOCABULARY.size, (2, 6))
    target = torch.randint(2, FINE_VOCABULARY.size, (2, 3))
    logits = fine_model.target_logits(model, source, target)
    everything = torch.cat([torch.ones(2, 1, dtype=torch.int64), source, target], 1)
    torch.testing.assert_close(logits, model(everything).logits[:, 6:9])
    changed = target.clone()
    changed[:, -1] = 2 + (changed[:, -1] - 1) % (FINE_VOCABULARY.size - 2)
    torch.testing.assert_close(fine_model.target_logits(model, source, changed), logits)


@pytest.mark.parametrize("relative_positions", [False, True])
def test_a_saved_model_is_the_same_when_opened(tmp_path: Path, relative_positions: bool) -> None:
    model = small_accompaniment(relative_positions=relative_positions, data={"recipe": {"a": [1]}})
    source, target = tokens(2, 7), tokens(2, 9, seed=1)
    model.save_pretrained(tmp_path)
    opened, report = AccompanimentModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert opened.config.data == {"recipe": {"a": [1]}}
    assert opened.config.dropout_rate == 0.1
    assert opened.encoder.embed_tokens.weight is opened.shared.weight
    assert opened.lm_head.weight is not opened.shared.weight
    assert target_logits(opened, source, target).equal(target_logits(model, source, target))


def test_a_saved_fine_model_is_the_same_when_opened(tmp_path: Path) -> None:
    model = small_fine(data={"recipe": {}})
    model.save_pretrained(tmp_path)
    opened = FineModel.from_pretrained(tmp_path)
    assert opened.config.data == {"recipe": {}}
    sequence = tokens(2, 9)
    assert opened(sequence).logits.equal(model(sequence).logits)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = small_accompaniment().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(1)
        target_logits(model, tokens(2, 7), tokens(2, 9, seed=1)).square().mean().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    assert model.decoder.block[0].gradient_checkpointing


def test_logits_are_float32_where_the_rest_is_not() -> None:
    model = small_accompaniment()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(
            input_ids=tokens(1, 5), decoder_input_ids=tokens(1, 5), output_hidden_states=True
        )
        inner = model.decoder.block[0].layer[-1].DenseReluDense.wi_0(torch.randn(1, 64))
    assert inner.dtype == torch.bfloat16
    assert outputs.logits.dtype == torch.float32
    exact = outputs.decoder_hidden_states[-1].float() @ model.lm_head.weight.T
    torch.testing.assert_close(outputs.logits, exact)
