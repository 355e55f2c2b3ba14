// The Markov head of DSpark: within a block it adds to the logits of a position what the token
// before it suggests, through a bottleneck of rank r. Sequential, but only over r numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/blocks/linear.h"
#include "model/heads/head_config.h"
#include "rows/rows.h"

namespace foresight {

struct MarkovScratch {
  LinearScratch linear;
  std::vector<float> previous;  // [n, r]
  std::vector<float> joined;    // [n, inputs of the gate]
  std::vector<float> gates;     // [n, outputs of the gate]
  std::vector<float> latent;    // [n, r]
};

class MarkovHead {
 public:
  MarkovHead() = default;
  // Reads markov.{w1, w2} [vocab, rank] and markov.{gate | joint} with its bias.
  MarkovHead(const CpuContext& context, const HeadConfig& config, const Weights& weights,
             DType storage);

  std::int64_t rank() const { return rank_; }
  // bias [n, vocab] of n positions of different blocks, each behind its token of `previous`;
  // hidden [n, hidden]: the rows that speak for them. state [n, rank], zeros at the first position
  // of a block, is carried from one to the next.
  void step(const CpuContext& context, std::span<const Token> previous, const float* hidden,
            float* state, float* bias, MarkovScratch& scratch) const;

  std::size_t packed_bytes() const;

 private:
  MarkovKind kind_ = MarkovKind::none;
  std::int64_t rank_ = 0;
  std::int64_t hidden_size_ = 0;
  std::int64_t vocab_size_ = 0;
  ops::PackedMatrix embedding_;  // W1 [vocab, rank]
  Linear output_;                // W2
  Linear gate_;
};

}  // namespace foresight
