// The requests of one call: queueing, driving, results.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/function_ref.h"
#include "engine/branch.h"
#include "engine/branch_control.h"
#include "engine/driver.h"
#include "engine/engine.h"
#include "engine/job_trace.h"
#include "engine/session.h"

namespace foresight {

// What a caller asks for; names and meanings as in Python's Job.add.
struct RequestSpec {
  std::vector<Token> tokens;
  SamplingParams sampling;
  std::int64_t max_new_tokens = 0;
  std::uint64_t seed = 0;
  std::int64_t num_sequences = 1;
  float guidance_scale = 1.0f;         // 1: off
  std::vector<Token> negative_tokens;  // empty: the prompt's last token
  std::shared_ptr<const LogitsProcessor> prefix_processor;
  ProcessorList user_processors;
  std::shared_ptr<const Policy> policy;
  std::shared_ptr<Drafter> drafter;  // one for all requests of a job; null: none
  std::optional<double> max_seconds;
  std::optional<std::int32_t> logprobs;  // top entries per token
  bool output_scores = false;
  bool output_logits = false;
  Session* session = nullptr;          // start from a fork of its cache
  std::optional<ControlSpec> control;  // instead of num_sequences: a controller says how many
};

// What happened to one sequence since the last call.
struct JobEvent {
  std::int64_t request = 0;
  std::int64_t sequence = 0;
  std::int64_t first_new = 0;
  std::int64_t num_new = 0;
  StopReason stop = StopReason::none;
};

enum class Until : std::uint8_t { step, finished, done };

class Job : private BranchHost {
 public:
  explicit Job(std::shared_ptr<Engine> engine);
  ~Job() override;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Queues a request; returns its index. Throws ValueError (empty prompt, token ids, ranges),
  // CacheFullError (can never fit), before any work.
  std::int64_t add(RequestSpec spec);

  // Writes events from now on.
  void set_trace(std::unique_ptr<TraceSink> sink) { trace_.emplace(std::move(sink)); }

  // Runs steps; `poll` is called before each and may throw to cancel, which leaves the job usable.
  // Events are merged per sequence for `finished` and `done`.
  std::vector<JobEvent> advance(Until until, FunctionRef<void()> poll);
  // What a controller or an answer's reader throws, in add() already, ends its request and passes
  // through here; the job goes on with the others when it is advanced again.
  bool done() const { return num_unfinished_ == 0 && start_errors_.empty(); }

  // Stops a sequence now, keeping its first num_new_tokens new tokens.
  void finish(std::int64_t request, std::int64_t sequence, std::int64_t num_new_tokens,
              StopReason reason);
  void close();

  // Throws ValueError when there is no such sequence.
  const Branch& branch(std::int64_t request, std::int64_t sequence) const;
  std::int64_t num_sequences(std::int64_t request) const;
  // Of a request under control; throws ValueError for others.
  const BranchControl& control(std::int64_t request) const;
  // Forwards in which a row of the request was computed, its probes' included.
  std::int64_t num_forwards(std::int64_t request) const;
  Engine& engine() { return *engine_; }

  struct Stats {
    Counters counters;
    std::int64_t decode_forwards = 0;
    std::int64_t peak_cache_bytes = 0;
    std::int64_t preemptions = 0;
    double seconds = 0.0;          // in advance()
    double forward_seconds = 0.0;  // of these, in the model
    double draft_seconds = 0.0;    // in drafters
    double verify_seconds = 0.0;   // in forwards of the model that tested drafts
    // Per place in a row of drafts, over all sequences.
    std::vector<std::int64_t> drafted_at;
    std::vector<std::int64_t> accepted_at;
  };
  Stats stats() const;

 private:
  const Request& request_at(std::int64_t request) const;
  Branch& branch_at(std::int64_t request, std::int64_t sequence);
  void make_branches(Request& request, RequestSpec spec);
  Branch& make_branch(Request& request);
  static bool is_complete(const Branch& branch);
  void inherit(Branch& branch, const Branch& parent, std::int64_t num_new_tokens);
  // Lets the controllers act on what has happened since the last time.
  void run_controls();
  void run_control(BranchControl& control);
  // Keeps the first num_new_tokens new tokens.
  static void cut(Branch& branch, std::int64_t num_new_tokens);
  // Adds masks after the prompt and lists the positions to decide.
  static void spread_canvas(Branch& branch, Token mask);
  void check_deadlines();
  // Books a sequence or a probe that finished since the last look.
  void note_finished(Branch& branch);

  Branch& add_branch(Request& request, const Branch* parent, std::int64_t num_new_tokens) override;
  void end_branch(Branch& branch, std::int64_t num_new_tokens) override;
  void note_told(Branch& branch) override;
  void add_probe(Branch& probe) override;
  void remove_probe(Branch& probe) override;
  std::int64_t cache_bytes(const Branch& branch, std::int64_t num_new_tokens) const override;
  void record(const std::vector<StepEvent>& events);
  // Adds what the caller has not been told about a sequence to the events.
  void report(Branch& branch);

  std::shared_ptr<Engine> engine_;
  Driver driver_;
  Presence caller_;               // in advance() or away
  std::deque<Request> requests_;  // stable addresses
  std::deque<Branch> branches_;   // of all requests, in the order of their making
  std::vector<Branch*> live_;     // unfinished ones and probes, oldest first
  std::vector<std::unique_ptr<BranchControl>> controls_;  // per request; null: not controlled
  std::deque<std::exception_ptr> start_errors_;           // of controllers, not thrown yet
  std::vector<JobEvent> events_;                          // not handed out yet
  bool merges_events_ = false;      // only finished sequences, with all their tokens
  std::size_t num_unfinished_ = 0;  // sequences, and requests under control
  Counters step_counters_;          // forwards of the whole job
  std::int64_t peak_pages_ = 0;
  std::int64_t preemptions_ = 0;
  Clock::time_point start_ = Clock::now();
  double seconds_ = 0.0;
  double forward_seconds_ = 0.0;
  double draft_seconds_ = 0.0;
  double verify_seconds_ = 0.0;
  std::int64_t draft_forwards_ = 0;
  std::shared_ptr<Drafter> drafter_;
  bool closed_ = false;
  std::optional<JobTrace> trace_;
};

}  // namespace foresight
