#include "bindings/config.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

template <typename T>
T field(const py::dict& fields, const char* name) {
  if (!fields.contains(name)) throw ValueError(concat("config field '", name, "' is missing"));
  try {
    return fields[name].cast<T>();
  } catch (const py::cast_error&) {
    throw py::type_error(concat("config field '", name, "' has the wrong type: ",
                                py::repr(fields[name]).cast<std::string>()));
  }
}

RopeConfig rope_from(const py::dict& fields) {
  return {.inverse_frequencies = field<std::vector<float>>(fields, "inverse_frequencies"),
          .attention_factor = field<float>(fields, "attention_factor"),
          .dynamic = field<bool>(fields, "dynamic"),
          .theta = field<double>(fields, "theta"),
          .factor = field<double>(fields, "factor"),
          .original_length = field<std::int64_t>(fields, "original_length")};
}

ExpertsConfig experts_from(const py::dict& fields) {
  return {.num_experts = field<std::int64_t>(fields, "num_experts"),
          .experts_per_token = field<std::int64_t>(fields, "experts_per_token"),
          .intermediate_size = field<std::int64_t>(fields, "intermediate_size"),
          .shared_intermediate_size = field<std::int64_t>(fields, "shared_intermediate_size"),
          .sigmoid = field<std::string>(fields, "score") == "sigmoid",
          .num_groups = field<std::int64_t>(fields, "num_groups"),
          .top_groups = field<std::int64_t>(fields, "top_groups"),
          .normalize = field<bool>(fields, "normalize"),
          .scale = field<float>(fields, "scale"),
          .choice_bias = field<bool>(fields, "choice_bias"),
          .layers = field<std::vector<bool>>(fields, "layers")};
}

AttentionKind attention_from(const std::string& name) {
  if (name == "causal") return AttentionKind::causal;
  if (name == "full") return AttentionKind::full;
  if (name == "block_causal") return AttentionKind::block_causal;
  if (name == "semi_causal") return AttentionKind::semi_causal;
  throw ValueError(
      concat("attention '", name, "' is not one of causal, full, block_causal, semi_causal"));
}

}  // namespace

ModelConfig model_config_from(const py::dict& fields) {
  ModelConfig config;
  config.family = field<std::string>(fields, "family");
  config.vocab_size = field<std::int64_t>(fields, "vocab_size");
  config.hidden_size = field<std::int64_t>(fields, "hidden_size");
  config.intermediate_size = field<std::int64_t>(fields, "intermediate_size");
  config.num_layers = field<std::int64_t>(fields, "num_layers");
  config.num_heads = field<std::int64_t>(fields, "num_heads");
  config.num_kv_heads = field<std::int64_t>(fields, "num_kv_heads");
  config.head_dim = field<std::int64_t>(fields, "head_dim");
  config.rms_norm_eps = field<float>(fields, "rms_norm_eps");
  config.activation = field<std::string>(fields, "activation");
  config.embedding_scale = field<float>(fields, "embedding_scale");
  config.attention_scale = field<float>(fields, "attention_scale");
  config.tie_word_embeddings = field<bool>(fields, "tie_word_embeddings");
  config.attention_bias = field<bool>(fields, "attention_bias");
  config.output_bias = field<bool>(fields, "output_bias");
  config.mlp_bias = field<bool>(fields, "mlp_bias");
  config.sliding_window = field<std::int64_t>(fields, "sliding_window");
  for (const std::string& type : field<std::vector<std::string>>(fields, "layer_types")) {
    if (type != "full_attention" && type != "sliding_attention") {
      throw ValueError(
          concat("layer type '", type, "' is not one of full_attention, sliding_attention"));
    }
    config.layer_is_sliding.push_back(type == "sliding_attention");
  }
  config.attention = attention_from(field<std::string>(fields, "attention"));
  config.block_length = field<std::int64_t>(fields, "block_length");
  config.shifted = field<bool>(fields, "shifted");
  config.mask_token_id = field<Token>(fields, "mask_token_id");
  config.num_learned_positions = field<std::int64_t>(fields, "num_learned_positions");
  config.rotary_dim = field<std::int64_t>(fields, "rotary_dim");
  config.adapter_scale = field<float>(fields, "adapter_scale");
  if (const auto experts = field<py::object>(fields, "experts"); !experts.is_none())
    config.experts = experts_from(experts);
  const auto ropes = field<py::dict>(fields, "rope");
  if (ropes.contains("full_attention")) config.rope_full = rope_from(ropes["full_attention"]);
  if (ropes.contains("sliding_attention"))
    config.rope_sliding = rope_from(ropes["sliding_attention"]);
  config.check();
  return config;
}

HeadConfig head_config_from(const py::dict& fields) {
  HeadConfig config;
  const auto kind = field<std::string>(fields, "kind");
  if (kind == "mtp") {
    config.kind = HeadKind::mtp;
  } else if (kind == "dflash") {
    config.kind = HeadKind::dflash;
  } else if (kind != "eagle3") {
    throw ValueError(concat("kind '", kind, "' is not one of eagle3, mtp, dflash"));
  }
  const auto markov = field<std::string>(fields, "markov");
  if (markov == "vanilla") {
    config.markov = MarkovKind::vanilla;
  } else if (markov == "gated") {
    config.markov = MarkovKind::gated;
  } else if (markov == "rnn") {
    config.markov = MarkovKind::rnn;
  } else if (!markov.empty()) {
    throw ValueError(concat("markov '", markov, "' is not one of '', vanilla, gated, rnn"));
  }
  config.model = model_config_from(field<py::dict>(fields, "model"));
  config.qk_norm = field<bool>(fields, "qk_norm");
  config.norm_offset = field<float>(fields, "norm_offset");
  config.target_layers = field<std::vector<std::int32_t>>(fields, "target_layers");
  config.target_hidden_size = field<std::int64_t>(fields, "target_hidden_size");
  config.target_vocab_size = field<std::int64_t>(fields, "target_vocab_size");
  config.norm_before_residual = field<bool>(fields, "norm_before_residual");
  config.norm_before_fc = field<bool>(fields, "norm_before_fc");
  config.feature_first = field<bool>(fields, "feature_first");
  config.block_length = field<std::int64_t>(fields, "block_length");
  config.mask_token = field<Token>(fields, "mask_token");
  config.predicts_next = field<bool>(fields, "predicts_next");
  config.causal = field<std::vector<bool>>(fields, "causal");
  config.markov_rank = field<std::int64_t>(fields, "markov_rank");
  config.check();
  return config;
}

Weights weights_from(const py::dict& tensors) {
  using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
  Weights weights;
  for (const auto& [key, value] : tensors) {
    const auto name = key.cast<std::string>();
    const auto entry = value.cast<py::tuple>();
    if (entry.size() != 3 || !py::isinstance<Bytes>(entry[0])) {
      throw py::type_error(
          concat("tensor '", name, "' is not (contiguous uint8 array, dtype, shape)"));
    }
    const auto bytes = py::reinterpret_borrow<Bytes>(entry[0]);
    TensorView view{.data = bytes.data(),
                    .dtype = dtype_from_name(entry[1].cast<std::string>()),
                    .shape = entry[2].cast<std::vector<std::int64_t>>()};
    if (view.num_bytes() != static_cast<std::size_t>(bytes.nbytes())) {
      throw ValueError(concat("tensor '", name, "' has ", bytes.nbytes(), " bytes, expected ",
                              view.num_bytes(), " for shape ", view.shape_string()));
    }
    weights.add(name, std::move(view));
  }
  return weights;
}

}  // namespace foresight
