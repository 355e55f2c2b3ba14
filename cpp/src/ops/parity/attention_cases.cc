#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/tolerances.h"
#include "ops/parity/attention_problem.h"
#include "ops/parity/cases.h"

namespace foresight::ops::parity {
namespace {

double attention_error(const CpuContext& context, const AttentionShape& shape,
                       std::span<const AttentionSequence> sequences) {
  const std::vector<float> got = run_attention(context, shape, sequences);
  double worst = 0.0;
  std::size_t at = 0;
  for (const AttentionSequence& sequence : sequences) {
    std::vector<double> scale;
    const std::vector<double> wanted = reference_attention(shape, sequence, scale);
    for (std::size_t i = 0; i < wanted.size(); ++i, ++at) {
      worst = std::max(worst, normalised_error(got[at], wanted[i], scale[i]));
    }
  }
  return worst;
}

// A small ragged batch of one pattern: nothing cached, a few keys, a page's end, more than one
// chunk.
std::vector<AttentionSequence> batch(const AttentionShape& shape, Pattern pattern) {
  return {random_sequence(1, shape, pattern, 0, 7), random_sequence(2, shape, pattern, 5, 1),
          random_sequence(3, shape, pattern, 16, 0), random_sequence(4, shape, pattern, 31, 33),
          random_sequence(5, shape, pattern, 250, 13)};
}

double poisoned_error(const CpuContext& context, const AttentionShape& shape) {
  std::vector<AttentionSequence> sequences = batch(shape, Pattern::causal);
  AttentionSequence& poisoned = sequences[3];
  poisoned.k[0] = std::numeric_limits<float>::quiet_NaN();
  poisoned.v[1] = std::numeric_limits<float>::infinity();
  // Every row of this sequence sees the poisoned key: only the others are compared.
  const std::vector<float> got = run_attention(context, shape, sequences);
  double worst = 0.0;
  std::size_t at = 0;
  for (const AttentionSequence& sequence : sequences) {
    std::vector<double> scale;
    const std::vector<double> wanted = reference_attention(shape, sequence, scale);
    for (std::size_t i = 0; i < wanted.size(); ++i, ++at) {
      if (&sequence != &poisoned)
        worst = std::max(worst, normalised_error(got[at], wanted[i], scale[i]));
    }
  }
  return worst;
}

std::string shape_name(const AttentionShape& shape) {
  return concat("attention/", name_of(shape.dtype), "/heads=", shape.num_heads, "/",
                shape.num_kv_heads, "/head_dim=", shape.head_dim, "/window=", shape.window);
}

void add_batch(std::vector<ParityCase>& cases, const AttentionShape& shape, Pattern pattern) {
  cases.push_back({concat(shape_name(shape), "/", name_of(pattern)), AttentionKernel::kName,
                   tolerances::kAttention, [=](const CpuContext& context) {
                     return attention_error(context, shape, batch(shape, pattern));
                   }});
}

}  // namespace

void add_attention_cases(std::vector<ParityCase>& cases) {
  for (const DType dtype : kAllDTypes) {
    for (const std::int64_t head_dim : {32, 34, 64, 80, 128, 256}) {
      add_batch(cases, {.dtype = dtype, .head_dim = head_dim}, Pattern::causal);
    }
    for (const std::int64_t heads : {1, 2, 3, 7, 8}) {
      add_batch(cases, {.dtype = dtype, .num_heads = heads, .num_kv_heads = 1, .head_dim = 64},
                Pattern::blocks);
    }
    for (const Pattern pattern : {Pattern::full, Pattern::blocks, Pattern::semi_causal,
                                  Pattern::isolated_masks, Pattern::tree}) {
      add_batch(cases, {.dtype = dtype}, pattern);
    }
    for (const Pattern pattern : {Pattern::causal, Pattern::full, Pattern::tree}) {
      for (const std::int64_t window : {1, 9, 100})
        add_batch(cases, {.dtype = dtype, .window = window}, pattern);
    }
    const AttentionShape shape{.dtype = dtype};
    cases.push_back({concat(shape_name(shape), "/hidden slots"), AttentionKernel::kName,
                     tolerances::kAttention, [=](const CpuContext& context) {
                       std::vector<AttentionSequence> sequences = batch(shape, Pattern::full);
                       sequences[3].hidden_slots = {0, 1, 7, 15, 16, 30};
                       sequences[4].hidden_slots = {249};
                       return attention_error(context, shape, sequences);
                     }});
    cases.push_back({concat(shape_name(shape), "/nan+inf in one sequence"), AttentionKernel::kName,
                     tolerances::kAttention,
                     [=](const CpuContext& context) { return poisoned_error(context, shape); }});
    cases.push_back(
        {concat(shape_name(shape), "/empty"), AttentionKernel::kName, tolerances::kAttention,
         [=](const CpuContext& context) { return attention_error(context, shape, {}); }});
  }
}

}  // namespace foresight::ops::parity
