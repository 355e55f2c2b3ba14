// Branches under control: what a controller decides happens to the branches of a running request.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/conductor.h"
#include "engine/branch.h"
#include "engine/job_trace.h"
#include "engine/step.h"

namespace foresight {

// Reads the answer out of the new tokens of a branch, or of a probe. Called on the thread that
// drives the job, without the engine's lock.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // `where`: whose tokens they are, for what it throws.
  virtual std::optional<std::string> read(std::span<const Token> tokens,
                                          const std::string& where) = 0;
};

// How the branches of a request are controlled.
struct ControlSpec {
  std::string name;  // of the controller, for the trace
  std::shared_ptr<Controller> controller;
  std::shared_ptr<AnswerBook> book;  // whose numbers the controller sees
  std::shared_ptr<AnswerReader> answers;
  // What is appended to a branch to make it answer; none: it cannot be probed.
  std::optional<std::vector<Token>> probe_suffix;
  std::int64_t max_probe_tokens = 24;  // that a probe writes behind it
  EventOrder order = EventOrder::arrival;
};

// What a job does for the branches of a controlled request. Takes the engine's lock itself.
class BranchHost {
 public:
  virtual ~BranchHost() = default;
  // A branch from the prompt, or with the first num_new_tokens new tokens of `parent`.
  virtual Branch& add_branch(Request& request, const Branch* parent,
                             std::int64_t num_new_tokens) = 0;
  // Ends a branch with its first num_new_tokens new tokens.
  virtual void end_branch(Branch& branch, std::int64_t num_new_tokens) = 0;
  // The controller has been told that the branch has ended by itself.
  virtual void note_told(Branch& branch) = 0;
  virtual void add_probe(Branch& probe) = 0;
  virtual void remove_probe(Branch& probe) = 0;
  // Of the pages that hold the first num_new_tokens new tokens, those of the prompt left out.
  virtual std::int64_t cache_bytes(const Branch& branch, std::int64_t num_new_tokens) const = 0;
};

// What a probe found.
struct ProbeResult {
  std::int64_t num_tokens = 0;  // new tokens of the branch when it was probed
  std::vector<Token> tokens;    // the suffix and what was written behind it
  AnswerId answer = kNoAnswer;
};

class BranchControl final : public Stage {
 public:
  static constexpr std::int64_t kMostBranches = 1 << 16;

  // `trace` may be null; both must outlive the control.
  BranchControl(ControlSpec spec, Request& request, BranchHost& host, JobTrace* trace);
  ~BranchControl() override;

  // Tells the controller what is due and does what it says. When something throws (the controller,
  // an answer's reader) the request ends: failed() and done() are true then.
  void run();
  // Takes what a step read about tokens of a branch (confidences).
  void observe(const StepEvent& event);

  bool done() const { return failed_ || conductor_.done(); }
  bool failed() const { return failed_; }
  const Request& request() const { return request_; }
  const AnswerBook& book() const { return *spec_.book; }
  // Of all branches that were made: a controller may have failed in the midst of making one.
  std::span<const BranchRecord> records() const {
    return conductor_.branches().first(std::min(conductor_.branches().size(), live_.size()));
  }
  const Branch& branch(std::int32_t number) const {
    return *live_[static_cast<std::size_t>(number)].branch;
  }
  // Of a request that is done and has not failed.
  const Outcome& outcome() const { return conductor_.outcome(); }
  std::int64_t num_early_events() const { return conductor_.num_early_events(); }
  // The last probe of a branch that its controller was told; null: none.
  const ProbeResult* last_probe(std::int32_t number) const;

  // Stage
  void start() override;
  void fork(std::int32_t parent, std::int64_t num_tokens) override;
  void end(std::int32_t branch, BranchStatus status, std::int64_t num_tokens) override;
  std::int64_t num_tokens(std::int32_t branch) override;
  std::optional<Ending> ending(std::int32_t branch) override;
  std::optional<AnswerId> probe(std::int32_t branch, std::int64_t num_tokens) override;
  double confidence(std::int32_t branch, std::int64_t num_tokens) override;
  std::int64_t cache_bytes(std::int32_t branch, std::int64_t num_tokens) override;
  bool is_starved(std::int32_t branch) override;

 private:
  class Telling;  // a controller that writes the trace on its way to the real one

  // A copy of a branch that is being made to answer: a request of its own.
  struct ProbeRun {
    Request request;
    Branch branch;
    std::int64_t num_tokens = 0;
  };
  struct Live {
    Branch* branch = nullptr;
    std::optional<Ending> ending;
    std::unique_ptr<ProbeRun> probe;              // running
    std::map<std::int64_t, ProbeResult> results;  // by tokens; not told yet
    std::optional<ProbeResult> told;              // the last one that the controller knows
    std::vector<float> confidences;               // per new token
    // Per new token: the least mean so far of a whole group that ends there; before the first whole
    // group the mean of all.
    std::vector<float> lowest_confidence;
    double group_sum = 0.0;  // of the last group of confidences
  };

  void add(std::int32_t parent, std::int64_t num_tokens);
  void add_confidence(Live& live, float value) const;
  void start_probe(Live& live, std::int64_t num_tokens);
  void drop_probe(Live& live);
  void probe_ahead(std::int32_t number);
  void take_probe(std::int32_t number);
  AnswerId read_answer(std::int32_t number, const char* what, std::span<const Token> tokens);
  // What the trace says of an answer; nothing where there is none, or no book of texts.
  std::optional<std::string> text_of(AnswerId answer) const;
  void tell_end(std::int32_t number, const BranchRecord& record, std::int64_t clock);
  void tell_outcome();
  Live& live(std::int32_t number) { return live_[static_cast<std::size_t>(number)]; }

  ControlSpec spec_;
  Request& request_;
  BranchHost& host_;
  JobTrace* trace_;
  Needs needs_;
  std::shared_ptr<const Policy> probe_policy_;
  std::vector<Live> live_;
  bool failed_ = false;
  bool is_outcome_told_ = false;
  Conductor conductor_;
};

}  // namespace foresight
