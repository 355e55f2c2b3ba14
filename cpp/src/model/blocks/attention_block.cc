#include "model/blocks/attention_block.h"

#include "ops/rmsnorm.h"
#include "ops/rope.h"

namespace foresight {

AttentionBlock::AttentionBlock(const CpuContext& context, const ModelConfig& config,
                               const Weights& weights, std::int64_t layer, bool qk_norm,
                               float norm_offset, DType storage, std::int64_t num_inputs)
    : hidden_size_(config.hidden_size),
      num_inputs_(num_inputs > 0 ? num_inputs : config.hidden_size),
      num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      rotary_dim_(config.rotary_dim),
      scale_(config.attention_scale),
      eps_(config.rms_norm_eps),
      window_(config.layer_is_sliding[static_cast<std::size_t>(layer)] ? config.sliding_window
                                                                       : 0) {
  const std::string prefix = concat("layers.", layer, ".");
  const std::int64_t q_size = num_heads_ * head_dim_;
  const std::int64_t kv_size = num_kv_heads_ * head_dim_;
  qkv_ = Linear(context, weights,
                {{prefix + "q", q_size, config.attention_bias},
                 {prefix + "k", kv_size, config.attention_bias},
                 {prefix + "v", kv_size, config.attention_bias}},
                num_inputs_, storage, config.adapter_scale);
  output_ = Linear(context, weights, {{prefix + "o", hidden_size_, config.output_bias}}, q_size,
                   storage, config.adapter_scale);
  if (qk_norm) {
    q_norm_ = weights.vector(prefix + "q_norm", head_dim_, norm_offset);
    k_norm_ = weights.vector(prefix + "k_norm", head_dim_, norm_offset);
  }
}

void AttentionBlock::finish_row(const CpuContext& context, const AttentionStep& step,
                                const ops::KvPages& pages, std::int64_t row, float* qkv) const {
  float* q = qkv;
  float* k = q + num_heads_ * head_dim_;
  float* v = k + num_kv_heads_ * head_dim_;
  const auto normalize = [&](float* heads, std::int64_t count, const std::vector<float>& weight) {
    context.kernel<ops::RmsNormKernel>()({.x = heads,
                                          .x_stride = head_dim_,
                                          .num_rows = count,
                                          .size = head_dim_,
                                          .weight = weight.data(),
                                          .eps = eps_,
                                          .out = heads,
                                          .out_stride = head_dim_},
                                         0, count);
  };
  if (!q_norm_.empty()) {
    normalize(q, num_heads_, q_norm_);
    normalize(k, num_kv_heads_, k_norm_);
  }
  const std::int64_t half = rotary_dim_ / 2;
  // q and k lie side by side, so one call rotates the heads of both.
  context.kernel<ops::RopeKernel>()({.x = q,
                                     .x_stride = 0,
                                     .num_rows = 1,
                                     .num_heads = num_heads_ + num_kv_heads_,
                                     .head_dim = head_dim_,
                                     .rotary_dim = rotary_dim_,
                                     .cos = step.cos + row * half,
                                     .sin = step.sin + row * half},
                                    0, 1);
  context.kernel<ops::KvWriteKernel>()(
      {.pages = pages, .slots = step.slots + row, .num_rows = 1, .k = k, .v = v, .stride = 0}, 0,
      1);
}

void AttentionBlock::write(const CpuContext& context, const AttentionStep& step,
                           const ops::KvPages& pages, const float* x,
                           AttentionWorkspace& workspace) const {
  const std::int64_t stride = qkv_size();
  float* qkv = workspace.qkv.reserve<float>(static_cast<std::size_t>(step.num_rows * stride));
  qkv_.apply(
      context,
      {.x = x, .stride = num_inputs_, .num_rows = step.num_rows, .adapter_rows = step.adapter_rows},
      qkv, stride, false, workspace.linear);

  constexpr std::int64_t kRowsPerTask = 8;
  const std::int64_t num_tasks = (step.num_rows + kRowsPerTask - 1) / kRowsPerTask;
  context.threads->parallel_for(static_cast<std::size_t>(num_tasks), [&](std::size_t task, int) {
    const std::int64_t begin = static_cast<std::int64_t>(task) * kRowsPerTask;
    const std::int64_t end = std::min(begin + kRowsPerTask, step.num_rows);
    for (std::int64_t row = begin; row < end; ++row)
      finish_row(context, step, pages, row, qkv + row * stride);
  });
}

void AttentionBlock::apply(const CpuContext& context, const AttentionStep& step,
                           const ops::KvPages& pages, const float* x, float* out, bool accumulate,
                           AttentionWorkspace& workspace) const {
  write(context, step, pages, x, workspace);
  const std::int64_t q_size = num_heads_ * head_dim_;
  const float* qkv = workspace.qkv.data<float>();
  float* mixed = workspace.context.reserve<float>(static_cast<std::size_t>(step.num_rows * q_size));

  ops::attention(context,
                 {.q = qkv,
                  .q_stride = qkv_size(),
                  .num_heads = num_heads_,
                  .pages = pages,
                  .scale = scale_,
                  .window = window_,
                  .segments = step.segments,
                  .out = mixed,
                  .out_stride = q_size},
                 workspace.attention);
  output_.apply(
      context,
      {.x = mixed, .stride = q_size, .num_rows = step.num_rows, .adapter_rows = step.adapter_rows},
      out, hidden_size_, accumulate, workspace.linear);
}

}  // namespace foresight
