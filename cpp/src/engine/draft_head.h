// A draft head as a drafter: a small network that guesses from the target's hidden states. Heads
// that guess token by token (EAGLE-3, MTP) make chains and trees; heads that fill a block at once
// (DFlash, DSpark) make chains.
//
// Every guess of a chain is drawn from a distribution of its own, given the guesses before it: the
// masks of a block are read in one forward, but their distributions do not depend on each other's
// tokens (DFlash), or only on those before (DSpark), so each is what its token was drawn from, and
// the test of the chain stays exact.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "decode/drafter.h"
#include "engine/head_contexts.h"
#include "model/heads/draft_network.h"

namespace foresight {

class DraftHead final : public Drafter {
 public:
  // `context` (of the target) must outlive the drafter. num_pages: of the cache. to_target: per
  // token of the head the target's; empty: the same. Throws ValueError when that does not fit.
  DraftHead(const CpuContext& context, std::unique_ptr<DraftNetwork> network,
            std::int64_t num_pages, std::vector<Token> to_target);

  void propose(std::span<DraftTask> tasks) override;
  std::vector<std::int32_t> hidden_layers() const override { return head().target_layers; }
  void observe(const TargetStates& states) override;
  void forget(std::uint64_t branch) override { contexts_.forget(branch); }
  std::int64_t num_forwards() const override { return num_forwards_; }

 private:
  struct Work;

  const HeadConfig& head() const { return network_->head(); }
  bool fills_blocks() const { return head().kind == HeadKind::dflash; }
  std::int64_t hidden_size() const { return head().model.hidden_size; }

  // Caches waiting features until fewer than `most` are left.
  void absorb(std::vector<Work*> works, std::int64_t most);
  void propose_chains(std::vector<Work*> works);
  void propose_trees(std::vector<Work*> works);
  void propose_blocks(std::vector<Work*> works);
  // The guesses at place `depth` of the blocks of `works`; ends those that have none.
  void fill_place(std::vector<Work*>& works, std::int64_t depth);
  // One forward of the rows that the works hold ready; works without pages fail.
  void forward(std::vector<Work*>& works);
  std::span<float> logits_of(const Work& work, std::int64_t index) const;
  const float* hidden_of(const Work& work, std::int64_t index) const;

  CpuContext context_;
  std::unique_ptr<DraftNetwork> network_;
  std::vector<Token> to_target_;
  HeadContexts contexts_;
  ForwardBatch batch_;
  std::vector<float> row_features_;  // [T, hidden], of the batch
  std::vector<float> projected_;     // [rows, hidden]
  ForwardResult result_;
  std::vector<float> bias_;  // [works, vocab]
  std::vector<float> states_;
  MarkovScratch markov_scratch_;
  std::int64_t num_forwards_ = 0;
};

}  // namespace foresight
