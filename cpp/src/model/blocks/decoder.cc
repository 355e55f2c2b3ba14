#include "model/blocks/decoder.h"

#include <algorithm>

#include "ops/embedding.h"
#include "ops/rmsnorm.h"

namespace foresight {

namespace {

// The config of a decoder that ends after `num_layers` layers.
ModelConfig cut(ModelConfig config, std::int64_t num_layers) {
  FORESIGHT_CHECK(num_layers > 0 && num_layers <= config.num_layers,
                  concat(num_layers, " of ", config.num_layers, " layers"));
  const auto count = static_cast<std::size_t>(num_layers);
  config.num_layers = num_layers;
  config.layer_is_sliding.resize(count);
  if (config.experts.num_experts > 0) config.experts.layers.resize(count);
  return config;
}

}  // namespace

Decoder::Decoder(const CpuContext& context, const ModelConfig& config, const Weights& weights,
                 const DecoderTraits& traits, DType storage)
    : Decoder(context,
              std::make_shared<const DecoderWeights>(context, config, weights, traits, storage),
              config.num_layers) {}

Decoder::Decoder(const CpuContext& context, std::shared_ptr<const DecoderWeights> weights,
                 std::int64_t num_layers)
    : context_(context),
      weights_(std::move(weights)),
      config_(cut(weights_->config, num_layers)),
      rows_(config_),
      kv_(config_, weights_->storage) {}

std::unique_ptr<ModelPort> Decoder::share(const CpuContext& context,
                                          std::int64_t num_layers) const {
  if (context.isa != context_.isa) {
    throw ValueError(concat("weights packed for ", name_of(context_.isa),
                            " kernels cannot be shared with a model that uses ",
                            name_of(context.isa)));
  }
  return std::make_unique<Decoder>(context, weights_, num_layers);
}

TokenMatrices Decoder::token_matrices() const {
  return {.embedding = {weights_, &weights_->embedding},
          .output = {weights_, &weights_->output_head()}};
}

void Decoder::add_positions(const ForwardBatch& batch, float* x) const {
  const std::int64_t hidden = config_.hidden_size;
  for (std::size_t row = 0; row < batch.positions.size(); ++row) {
    const std::int64_t position = batch.positions[row];
    if (position >= config_.num_learned_positions) {
      throw ValueError(concat("position ", position, " is beyond the model's ",
                              config_.num_learned_positions, " learned ones"));
    }
    const float* embedding = weights_->positions.data() + position * hidden;
    float* out = x + static_cast<std::int64_t>(row) * hidden;
    for (std::int64_t i = 0; i < hidden; ++i) out[i] += embedding[i];
  }
}

void Decoder::normalize(const float* x, std::int64_t num_rows, const std::vector<float>& weight,
                        float* out) const {
  ops::rmsnorm(context_, {.x = x,
                          .x_stride = config_.hidden_size,
                          .num_rows = num_rows,
                          .size = config_.hidden_size,
                          .weight = weight.data(),
                          .eps = config_.rms_norm_eps,
                          .out = out,
                          .out_stride = config_.hidden_size});
}

void Decoder::add_normalized(float* x, float* y, std::int64_t num_rows,
                             const std::vector<float>& weight) const {
  normalize(y, num_rows, weight, y);
  const std::int64_t count = num_rows * config_.hidden_size;
  for (std::int64_t i = 0; i < count; ++i) x[i] += y[i];
}

void Decoder::run_layer(std::int64_t index, std::int64_t num_rows) {
  const auto i = static_cast<std::size_t>(index);
  const Layer& layer = weights_->layers[i];
  const bool sliding = config_.layer_is_sliding[i];
  float* x = x_.data<float>();
  float* normed = normed_.data<float>();
  float* branch = branch_.data<float>();
  const AttentionStep step = rows_.step(sliding);
  const bool direct = !weights_->traits.post_norms;  // blocks add to the residual stream themselves

  normalize(x, num_rows, layer.attn_norm, normed);
  layer.attention.apply(context_, step, kv_.layer(index), normed, direct ? x : branch, direct,
                        attention_workspace_);
  if (!direct) add_normalized(x, branch, num_rows, layer.post_attn_norm);

  normalize(x, num_rows, layer.mlp_norm, normed);
  run_mlp(layer, normed, num_rows, direct ? x : branch, direct);
  if (!direct) add_normalized(x, branch, num_rows, layer.post_mlp_norm);
}

void Decoder::run_mlp(const Layer& layer, const float* x, std::int64_t num_rows, float* out,
                      bool accumulate) {
  if (const auto* experts = std::get_if<MoeBlock>(&layer.mlp)) {
    experts->apply(context_, x, num_rows, out, accumulate, moe_workspace_);
  } else {
    std::get<MlpBlock>(layer.mlp).apply(context_, x, num_rows, rows_.adapter_rows(), out,
                                        accumulate, mlp_workspace_);
  }
}

void Decoder::tap_hidden(const ForwardBatch& batch, std::int64_t layer) {
  const auto hidden = static_cast<std::size_t>(config_.hidden_size);
  const std::size_t num_layers = batch.hidden_layers.size();
  const float* x = x_.data<float>();
  for (std::size_t l = 0; l < num_layers; ++l) {
    if (batch.hidden_layers[l] != layer) continue;
    for (std::size_t r = 0; r < batch.hidden_rows.size(); ++r) {
      const float* row = x + static_cast<std::size_t>(batch.hidden_rows[r]) * hidden;
      float* out = hidden_.data() + (r * num_layers + l) * hidden;
      if (layer == config_.num_layers) {
        normalize(row, 1, weights_->final_norm, out);
      } else {
        std::copy_n(row, hidden, out);
      }
    }
  }
}

ForwardResult Decoder::forward(const ForwardBatch& batch) {
  const auto num_rows = static_cast<std::int64_t>(batch.tokens.size());
  const std::int64_t hidden = config_.hidden_size;
  const auto elements = static_cast<std::size_t>(num_rows * hidden);
  float* x = x_.reserve<float>(elements);
  normed_.reserve<float>(elements);
  branch_.reserve<float>(weights_->traits.post_norms ? elements : 0);
  hidden_.resize(batch.hidden_rows.size() * batch.hidden_layers.size() *
                 static_cast<std::size_t>(hidden));
  rows_.prepare(batch);

  ops::embedding(context_, {.tokens = batch.tokens.data(),
                            .num_rows = num_rows,
                            .table = &weights_->embedding,
                            .scale = config_.embedding_scale,
                            .out = x,
                            .out_stride = hidden});
  if (!weights_->positions.empty()) add_positions(batch, x);
  tap_hidden(batch, 0);
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    run_layer(i, num_rows);
    tap_hidden(batch, i + 1);
  }

  const auto num_asked = static_cast<std::int64_t>(batch.logit_rows.size());
  if (num_asked == 0) return {.hidden = hidden_.data()};
  float* asked = asked_.reserve<float>(static_cast<std::size_t>(num_asked * hidden));
  for (std::int64_t i = 0; i < num_asked; ++i) {
    const auto row = static_cast<std::int64_t>(batch.logit_rows[static_cast<std::size_t>(i)]);
    std::copy_n(x + row * hidden, hidden, asked + i * hidden);
  }
  normalize(asked, num_asked, weights_->final_norm, asked);
  const std::int64_t vocab = config_.vocab_size;
  float* logits = logits_.reserve<float>(static_cast<std::size_t>(num_asked * vocab));
  ops::matmul(context_,
              {.a = asked,
               .lda = hidden,
               .num_rows = num_asked,
               .weight = &weights_->output_head(),
               .c = logits,
               .ldc = vocab},
              head_scratch_);
  return {.logits = logits, .hidden = hidden_.data()};
}

}  // namespace foresight
