// Policies that use what a user's policy may use, and must all give what plain greedy decoding
// gives.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "core/rng.h"
#include "decode/policy.h"

namespace foresight::engine_test {

inline std::int64_t ssize_of(std::span<const Token> tokens) { return std::ssize(tokens); }

// Drafts a random chain or tree from the last token, verifies it against the argmax of each row,
// keeps the accepted path. `oracle` holds the right tokens: drafts are right more often than not.
class Drafting final : public Policy {
 public:
  enum class Shape : std::uint8_t { chain, tree };
  Drafting(Shape shape, std::vector<Token> oracle, std::uint64_t seed)
      : shape_(shape), oracle_(std::move(oracle)), seed_(seed) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&, Role) const override {
    return ssize_of(view.tokens) - 1;
  }

  Plan plan(const BranchView& view, const PolicyState&) const override {
    const std::int64_t length = ssize_of(view.tokens);
    const std::uint64_t key = mix64(seed_, static_cast<std::uint64_t>(length));
    const auto num_drafts = static_cast<std::int32_t>(key % (shape_ == Shape::tree ? 70 : 9));
    Plan plan;
    Segment& segment = plan.segments.emplace_back();
    const Ask ask{.kind = AskKind::sample};
    segment.rows.push_back(causal_row(view.tokens.back(), length - 1, 0, ask));
    for (std::int32_t i = 1; i <= num_drafts; ++i) {
      const std::uint64_t bits = mix64(key, static_cast<std::uint64_t>(i));
      const std::int32_t parent = parent_of(view, i);
      const std::int64_t position = segment.rows[static_cast<std::size_t>(parent)].position + 1;
      const bool is_right = bits % 10 < 7 && position < std::ssize(oracle_);
      const auto token =
          is_right
              ? oracle_[static_cast<std::size_t>(position)]
              : static_cast<Token>(bits / 16 % static_cast<std::uint64_t>(view.model.vocab_size));
      segment.rows.push_back(causal_row(token, position, i, ask));
    }
    if (shape_ == Shape::tree) segment.ancestors = ancestors_of(view, num_drafts + 1);
    return plan;
  }

  Commit advance(const BranchView& view, PolicyState&, const Plan& plan,
                 Readout& readout) const override {
    const Segment& segment = plan.segments.at(0);
    Commit commit;
    commit.kept_rows = {{0}};
    std::int32_t at = 0;
    while (true) {
      RowReadout& answer = readout.segments.at(0).at(static_cast<std::size_t>(at));
      const Token token = answer.token;
      commit.tokens.push_back({token, std::move(answer)});
      std::int32_t child = at + 1;
      while (child < std::ssize(segment.rows) &&
             (parent_of(view, child) != at ||
              segment.rows[static_cast<std::size_t>(child)].token != token)) {
        ++child;
      }
      if (child == std::ssize(segment.rows)) return commit;
      commit.kept_rows[0].push_back(child);
      at = child;
    }
  }

 private:
  std::int32_t parent_of(const BranchView& view, std::int32_t row) const {
    if (shape_ == Shape::chain) return row - 1;
    const std::uint64_t key = mix64(seed_, static_cast<std::uint64_t>(ssize_of(view.tokens)));
    const auto bits = mix64(~key, static_cast<std::uint64_t>(row));
    return std::max<std::int32_t>(0, row - 1 - static_cast<std::int32_t>(bits % 3));
  }

  std::vector<std::uint64_t> ancestors_of(const BranchView& view, std::int32_t num_rows) const {
    const std::int32_t words = (num_rows + 63) / 64;
    std::vector<std::uint64_t> bits(static_cast<std::size_t>(num_rows * words), 0);
    for (std::int32_t row = 0; row < num_rows; ++row) {
      for (std::int32_t at = row;; at = parent_of(view, at)) {
        bits[static_cast<std::size_t>(row * words + at / 64)] |= std::uint64_t{1} << (at % 64);
        if (at == 0) break;
      }
    }
    return bits;
  }

  Shape shape_;
  std::vector<Token> oracle_;  // of the whole sequence, prompt included
  std::uint64_t seed_;
};

// Between two tokens it overwrites the last cached slots with wrong tokens, then with the right
// ones again (unless `repairs` is off); in a third way it plans wrong ones and does not keep them.
class Replacing final : public Policy {
 public:
  Replacing(std::int64_t num_replaced, bool repairs)
      : num_replaced_(num_replaced), repairs_(repairs) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState&, Role) const override {
    return ssize_of(view.tokens) - 1;
  }

  Plan plan(const BranchView& view, const PolicyState& state) const override {
    const Phase phase = phase_of(state);
    const std::int64_t length = ssize_of(view.tokens);
    const std::int64_t first = std::max<std::int64_t>(0, length - 1 - num_replaced_);
    Plan plan;
    Segment& segment = plan.segments.emplace_back();
    for (std::int64_t slot = first; slot < length - 1; ++slot) {
      const Token right = view.tokens[static_cast<std::size_t>(slot)];
      const auto wrong = static_cast<Token>((right + 1) % view.model.vocab_size);
      const bool is_right = phase == Phase::right || phase == Phase::decode;
      Row row = causal_row(is_right ? right : wrong, slot, static_cast<std::int32_t>(slot - first));
      row.replaces = static_cast<std::int32_t>(slot);
      segment.rows.push_back(row);
    }
    if (phase == Phase::decode && !repairs_) segment.rows.clear();
    if (phase == Phase::decode || segment.rows.empty()) {
      segment.rows.push_back(causal_row(view.tokens.back(), length - 1,
                                        static_cast<std::int32_t>(std::ssize(segment.rows)),
                                        {.kind = AskKind::sample}));
    }
    return plan;
  }

  Commit advance(const BranchView&, PolicyState& state, const Plan& plan,
                 Readout& readout) const override {
    Commit commit;
    std::vector<std::int32_t>& kept = commit.kept_rows.emplace_back();
    const Phase phase = phase_of(state);
    const bool decodes = !readout.segments.at(0).empty();
    for (std::int32_t row = 0; row < std::ssize(plan.segments[0].rows); ++row) {
      const bool is_last = row + 1 == std::ssize(plan.segments[0].rows);
      // Right rows over right slots: keeping only some of them makes no difference.
      const bool keep = decodes ? is_last || row % 2 == 0 : phase != Phase::dropped;
      if (keep) kept.push_back(row);
    }
    if (decodes) {
      const Token token = readout.segments[0][0].token;
      commit.tokens.push_back({token, std::move(readout.segments[0][0])});
    }
    state = static_cast<int>(next(phase));
    return commit;
  }

 private:
  enum class Phase : std::uint8_t { decode, dropped, wrong, right };
  static Phase phase_of(const PolicyState& state) {
    return state.has_value() ? static_cast<Phase>(std::any_cast<int>(state)) : Phase::decode;
  }
  Phase next(Phase phase) const {
    switch (phase) {
      case Phase::decode:
        return Phase::dropped;
      case Phase::dropped:
        return Phase::wrong;
      case Phase::wrong:
        return repairs_ ? Phase::right : Phase::decode;
      case Phase::right:
        break;
    }
    return Phase::decode;
  }

  std::int64_t num_replaced_;
  bool repairs_;
};

// Another policy that throws in the n-th call of plan or advance, once.
class Throwing final : public Policy {
 public:
  Throwing(std::shared_ptr<const Policy> inner, std::int64_t plans, std::int64_t advances)
      : inner_(std::move(inner)), plans_until_failure_(plans), advances_until_failure_(advances) {}

  std::int64_t required_cache(const BranchView& view, const PolicyState& state,
                              Role role) const override {
    return inner_->required_cache(view, state, role);
  }
  Plan plan(const BranchView& view, const PolicyState& state) const override {
    if (plans_until_failure_-- == 0) throw std::runtime_error("plan failed");
    return inner_->plan(view, state);
  }
  Commit advance(const BranchView& view, PolicyState& state, const Plan& plan,
                 Readout& readout) const override {
    Commit commit = inner_->advance(view, state, plan, readout);
    // Only now, with the state already changed.
    if (advances_until_failure_-- == 0) throw std::runtime_error("advance failed");
    return commit;
  }

 private:
  std::shared_ptr<const Policy> inner_;
  mutable std::int64_t plans_until_failure_;
  mutable std::int64_t advances_until_failure_;
};

}  // namespace foresight::engine_test
