#include "model/heads/draft_network.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "ops/embedding.h"
#include "ops/rmsnorm.h"

namespace foresight {

DraftNetwork::DraftNetwork(const CpuContext& context, std::shared_ptr<const HeadWeights> weights)
    : context_(context),
      weights_(std::move(weights)),
      rows_(weights_->config.model),
      kv_(weights_->config.model, weights_->storage) {}

void DraftNetwork::normalize(const float* x, std::int64_t stride, std::int64_t num_rows,
                             const std::vector<float>& weight, float* out,
                             std::int64_t out_stride) const {
  ops::rmsnorm(context_, {.x = x,
                          .x_stride = stride,
                          .num_rows = num_rows,
                          .size = std::ssize(weight),
                          .weight = weight.data(),
                          .eps = config().rms_norm_eps,
                          .out = out,
                          .out_stride = out_stride});
}

void DraftNetwork::embed(const ForwardBatch& batch, float* out) const {
  ops::embedding(context_, {.tokens = batch.tokens.data(),
                            .num_rows = std::ssize(batch.tokens),
                            .table = weights_->embedding.get(),
                            .scale = config().embedding_scale,
                            .out = out,
                            .out_stride = config().hidden_size});
}

void DraftNetwork::apply_fc(const float* x, std::int64_t num_rows, float* out) {
  weights_->fc.apply(context_, {.x = x, .stride = weights_->fc.num_inputs(), .num_rows = num_rows},
                     out, config().hidden_size, false, fc_scratch_);
}

DraftNetwork::PairedRows DraftNetwork::begin_pairs(const ForwardBatch& batch) {
  FORESIGHT_CHECK(batch.features != nullptr, "rows with features");
  rows_.prepare(batch);
  const std::int64_t hidden = config().hidden_size;
  const std::int64_t count = std::ssize(batch.tokens);
  float* embedded = embedded_.reserve<float>(static_cast<std::size_t>(count * hidden));
  float* pairs = pairs_.reserve<float>(static_cast<std::size_t>(2 * count * hidden));
  embed(batch, embedded);
  const std::int64_t second = head().feature_first ? 0 : hidden;
  normalize(embedded, hidden, count, weights_->embed_norm, pairs + hidden - second, 2 * hidden);
  normalize(batch.features, hidden, count, weights_->feature_norm, pairs + second, 2 * hidden);
  return {.pairs = pairs, .x = x_.reserve<float>(static_cast<std::size_t>(count * hidden))};
}

void DraftNetwork::attend(std::int64_t layer, const AttentionStep& step, const float* from,
                          float* x) {
  weights_->layers[static_cast<std::size_t>(layer)].attention.apply(
      context_, step, kv_.layer(layer), from, x, true, attention_workspace_);
}

void DraftNetwork::run_mlp(std::int64_t layer, std::int64_t num_rows, float* x) {
  const HeadWeights::Layer& weights = weights_->layers[static_cast<std::size_t>(layer)];
  const std::int64_t hidden = config().hidden_size;
  float* normed = normed_.reserve<float>(static_cast<std::size_t>(num_rows * hidden));
  normalize(x, hidden, num_rows, weights.mlp_norm, normed, hidden);
  weights.mlp.apply(context_, normed, num_rows, {}, x, true, mlp_workspace_);
}

void DraftNetwork::run_layer(std::int64_t layer, const AttentionStep& step, float* x) {
  const std::int64_t hidden = config().hidden_size;
  float* normed = normed_.reserve<float>(static_cast<std::size_t>(step.num_rows * hidden));
  normalize(x, hidden, step.num_rows, weights_->layers[static_cast<std::size_t>(layer)].attn_norm,
            normed, hidden);
  attend(layer, step, normed, x);
  run_mlp(layer, step.num_rows, x);
}

void DraftNetwork::run_layers(std::int64_t first, float* x) {
  for (std::int64_t i = first; i < config().num_layers; ++i)
    run_layer(i, rows_.step(config().layer_is_sliding[static_cast<std::size_t>(i)]), x);
}

ForwardResult DraftNetwork::answer(const ForwardBatch& batch, const float* normed,
                                   const float* hidden) {
  const std::int64_t size = config().hidden_size;
  hidden_.clear();
  for (const std::int32_t row : batch.hidden_rows)
    hidden_.insert(hidden_.end(), hidden + row * size, hidden + (row + 1) * size);
  const std::int64_t num_asked = std::ssize(batch.logit_rows);
  if (num_asked == 0) return {.hidden = hidden_.data()};
  float* asked = asked_.reserve<float>(static_cast<std::size_t>(num_asked * size));
  for (std::int64_t i = 0; i < num_asked; ++i) {
    const std::int64_t row = batch.logit_rows[static_cast<std::size_t>(i)];
    std::copy_n(normed + row * size, size, asked + i * size);
  }
  const std::int64_t vocab = config().vocab_size;
  float* logits = logits_.reserve<float>(static_cast<std::size_t>(num_asked * vocab));
  ops::matmul(context_,
              {.a = asked,
               .lda = size,
               .num_rows = num_asked,
               .weight = weights_->output.get(),
               .c = logits,
               .ldc = vocab},
              output_scratch_);
  return {.logits = logits, .hidden = hidden_.data()};
}

std::unique_ptr<DraftNetwork> make_draft_network(const CpuContext& context,
                                                 std::shared_ptr<const HeadWeights> weights) {
  switch (weights->config.kind) {
    case HeadKind::eagle3:
      return make_eagle3(context, std::move(weights));
    case HeadKind::mtp:
      return make_mtp(context, std::move(weights));
    case HeadKind::dflash:
      return make_dflash(context, std::move(weights));
  }
  throw InternalError("a draft head of no kind");
}

}  // namespace foresight
