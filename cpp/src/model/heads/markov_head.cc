#include "model/heads/markov_head.h"

#include <algorithm>
#include <cmath>

#include "ops/embedding.h"

namespace foresight {

namespace {

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace

MarkovHead::MarkovHead(const CpuContext& context, const HeadConfig& config, const Weights& weights,
                       DType storage)
    : kind_(config.markov),
      rank_(config.markov_rank),
      hidden_size_(config.model.hidden_size),
      vocab_size_(config.model.vocab_size) {
  const TensorView w1 = weights.get("markov.w1", {vocab_size_, rank_});
  embedding_ = ops::PackedMatrix::pack(context, {&w1, 1}, storage);
  output_ = Linear(context, weights, {{"markov.w2", vocab_size_, false}}, rank_, storage);
  if (kind_ == MarkovKind::gated) {
    gate_ = Linear(context, weights, {{"markov.gate", rank_, true}}, hidden_size_ + rank_, storage);
  } else if (kind_ == MarkovKind::rnn) {
    gate_ = Linear(context, weights, {{"markov.joint", 3 * rank_, true}}, 2 * rank_ + hidden_size_,
                   storage);
  }
}

std::size_t MarkovHead::packed_bytes() const {
  return embedding_.num_bytes() + output_.packed_bytes() + gate_.packed_bytes();
}

void MarkovHead::step(const CpuContext& context, std::span<const Token> previous,
                      const float* hidden, float* state, float* bias,
                      MarkovScratch& scratch) const {
  const std::int64_t count = std::ssize(previous);
  const auto size = static_cast<std::size_t>(count * rank_);
  scratch.previous.resize(size);
  ops::embedding(context, {.tokens = previous.data(),
                           .num_rows = count,
                           .table = &embedding_,
                           .out = scratch.previous.data(),
                           .out_stride = rank_});
  scratch.latent = scratch.previous;
  if (kind_ != MarkovKind::vanilla) {
    // gated: [hidden, previous]; rnn: [state, previous, hidden].
    const bool gated = kind_ == MarkovKind::gated;
    const std::int64_t inputs = hidden_size_ + (gated ? rank_ : 2 * rank_);
    const std::int64_t outputs = gated ? rank_ : 3 * rank_;
    scratch.joined.resize(static_cast<std::size_t>(count * inputs));
    scratch.gates.resize(static_cast<std::size_t>(count * outputs));
    for (std::int64_t i = 0; i < count; ++i) {
      float* to = scratch.joined.data() + i * inputs;
      if (!gated) to = std::copy_n(state + i * rank_, rank_, to);
      if (gated) to = std::copy_n(hidden + i * hidden_size_, hidden_size_, to);
      to = std::copy_n(scratch.previous.data() + i * rank_, rank_, to);
      if (!gated) std::copy_n(hidden + i * hidden_size_, hidden_size_, to);
    }
    gate_.apply(context, {.x = scratch.joined.data(), .stride = inputs, .num_rows = count},
                scratch.gates.data(), outputs, false, scratch.linear);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* gates = scratch.gates.data() + i * outputs;
      float* latent = scratch.latent.data() + i * rank_;
      for (std::int64_t r = 0; r < rank_; ++r) {
        const float gate = sigmoid(gates[r]);
        if (gated) {
          latent[r] *= gate;
          continue;
        }
        float& carried = state[i * rank_ + r];
        carried = gate * carried + (1.0f - gate) * std::tanh(gates[rank_ + r]);
        latent[r] = std::tanh(gates[2 * rank_ + r]);
      }
    }
  }
  output_.apply(context, {.x = scratch.latent.data(), .stride = rank_, .num_rows = count}, bias,
                vocab_size_, false, scratch.linear);
}

}  // namespace foresight
