// Controllers by script, and short ways to run a request under one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/controllers.h"
#include "cpp/engine/rig.h"

namespace foresight::engine_test {

// The last token of what it reads, a few ways: "0", "1" or "2"; token 3 is no answer.
class LastToken final : public AnswerReader {
 public:
  std::optional<std::string> read(std::span<const Token> tokens, const std::string&) override {
    return of(tokens);
  }
  static std::optional<std::string> of(std::span<const Token> tokens) {
    if (tokens.empty() || tokens.back() == 3) return std::nullopt;
    return std::to_string(tokens.back() % 3);
  }
};

// Starts `width` branches; the rest is what the test says.
class Scripted final : public Controller {
 public:
  explicit Scripted(std::int64_t branches, Needs wanted = {}) : width(branches), wants(wanted) {}

  using Callback = std::function<void(const BranchesView&, std::int32_t, Actions&)>;
  std::int64_t width;
  Needs wants;
  Callback started = [](auto&&...) {};
  Callback probed = [](auto&&...) {};
  Callback finished = [](auto&&...) {};
  Callback passed = [](auto&&...) {};

  Needs needs() const override { return wants; }
  void on_start(const BranchesView& view, Actions& actions) override {
    actions.start(width);
    started(view, -1, actions);
  }
  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    probed(view, branch, actions);
  }
  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    finished(view, branch, actions);
  }
  void on_interval(const BranchesView& view, Actions& actions) override {
    passed(view, -1, actions);
  }
};

inline constexpr std::int64_t kProbeTokens = 3;
inline Tokens probe_suffix() { return {20, 21, 22}; }

inline RequestSpec controlled(std::shared_ptr<Controller> controller, std::int64_t prompt_length,
                              std::int64_t max_new_tokens, std::uint64_t seed,
                              EventOrder order = EventOrder::virtual_time) {
  RequestSpec spec = make_spec(some_tokens(prompt_length, seed), max_new_tokens, true, seed);
  spec.sampling.eos_token_ids = {0};
  spec.control = ControlSpec{.name = "test",
                             .controller = std::move(controller),
                             .book = std::make_shared<AnswerBook>(),
                             .answers = std::make_shared<LastToken>(),
                             .probe_suffix = probe_suffix(),
                             .max_probe_tokens = kProbeTokens,
                             .order = order};
  return spec;
}

// All that was decided and written for a request; answers as texts.
struct Told {
  struct Ended {
    Tokens tokens;
    std::string status;
    std::string reason;
    std::string answer;
    std::vector<std::pair<std::int64_t, std::string>> probes;
    bool operator==(const Ended&) const = default;
  };
  std::vector<Ended> branches;
  std::string answer;
  std::int32_t winner = -1;
  std::int64_t clock = 0;
  std::string reason;
  bool operator==(const Told&) const = default;
};

inline std::string text_of(const BranchControl& control, AnswerId answer) {
  return answer == kNoAnswer ? "none" : control.book().text(answer);
}

inline Told told(const Job& job, std::int64_t request) {
  const BranchControl& control = job.control(request);
  Told all;
  for (const BranchRecord& record : control.records()) {
    Told::Ended& ended = all.branches.emplace_back();
    ended.tokens = new_tokens(job, request, std::ssize(all.branches) - 1);
    ended.status = name_of(record.status);
    ended.reason = record.reason;
    ended.answer = text_of(control, record.answer);
    for (const ProbeReading& reading : record.probes)
      ended.probes.emplace_back(reading.num_tokens, text_of(control, reading.answer));
    EXPECT_EQ(std::ssize(ended.tokens), record.num_tokens);
  }
  const Outcome& outcome = control.outcome();
  all.answer = text_of(control, outcome.answer);
  all.winner = outcome.winner;
  all.clock = outcome.clock;
  all.reason = outcome.reason;
  return all;
}

// Runs one request to its end; nothing stays behind.
inline Told run_controlled(Rig& rig, const RequestSpec& spec, Job::Stats* stats = nullptr) {
  Told all;
  {
    Job job(rig.engine);
    job.add(spec);
    job.advance(Until::done, no_poll);
    EXPECT_TRUE(job.done());
    rig.check_integrity();
    EXPECT_EQ(rig.used_pages(), 0) << "of a request that is done";
    all = told(job, 0);
    if (stats != nullptr) *stats = job.stats();
  }
  rig.expect_empty();
  return all;
}

// What a probe finds: the branch's first tokens and the suffix as a prompt of its own.
inline std::string probe_by_hand(const Tokens& prompt, const Tokens& written,
                                 std::int64_t num_tokens) {
  Tokens tokens = prompt;
  tokens.insert(tokens.end(), written.begin(), written.begin() + num_tokens);
  for (const Token token : probe_suffix()) tokens.push_back(token);
  RequestSpec spec = make_spec(std::move(tokens), kProbeTokens);
  spec.sampling.eos_token_ids = {0};
  return LastToken::of(run_alone({spec})[0]).value_or("none");
}

}  // namespace foresight::engine_test
