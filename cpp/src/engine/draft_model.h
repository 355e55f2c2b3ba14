// A language model that drafts for another one: a smaller model of the same vocabulary, one of
// another vocabulary through what the two share, or the target's own first layers (early exit). Its
// weights may be shared with whoever else uses them; K/V and activations are its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/cpu_context.h"
#include "decode/drafter.h"
#include "decode/tree_growth.h"
#include "engine/draft_cache.h"
#include "model/port.h"

namespace foresight {

// How the tokens of the target and of a drafter of another vocabulary relate. Guesses come from
// what both have; the context is spelled token by token in the drafter's vocabulary.
struct VocabularyMap {
  std::vector<std::vector<Token>> spelled;  // per target token: the drafter's tokens
  std::vector<Token> same;  // per drafter token: the target's token of the same text, or kNoToken
  bool is_identity() const { return same.empty(); }
};

class DraftModel final : public Drafter {
 public:
  // `context` (of the target) must outlive the drafter. target_vocab: size of the target's
  // vocabulary; num_pages: of the cache. Throws ValueError when the map does not fit.
  DraftModel(const CpuContext& context, std::unique_ptr<ModelPort> model, std::int64_t target_vocab,
             std::int64_t num_pages, VocabularyMap map);

  void propose(std::span<DraftTask> tasks) override;
  void forget(std::uint64_t branch) override { cache_.forget(branch); }
  std::int64_t num_forwards() const override { return num_forwards_; }

 private:
  struct Work;

  std::vector<Token> spell(std::span<const Token> tokens) const;
  // Computes what the cache lacks of the contexts, up to the last token, which stays to be asked.
  void catch_up(std::vector<Work>& works);
  void propose_chains(std::vector<Work*> works);
  void propose_trees(std::vector<Work*> works);
  // One forward of the rows that the works hold ready; answers in the target's vocabulary.
  void forward(std::span<Work* const> works);
  // Row `index` of the last forward's logits, in the target's vocabulary, processed as the request
  // does behind `history`.
  std::span<float> scores_of(const Work& work, std::int64_t index, std::span<const Token> history,
                             std::vector<float>& storage) const;

  CpuContext context_;
  std::unique_ptr<ModelPort> model_;
  std::int64_t target_vocab_;
  VocabularyMap map_;
  DraftCache cache_;
  ForwardBatch batch_;
  ForwardResult result_;
  std::int64_t num_forwards_ = 0;
};

}  // namespace foresight
