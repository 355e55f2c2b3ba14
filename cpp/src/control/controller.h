// A controller decides over the branches of one request: which start, fork, are probed, pruned, and
// when the request ends. It sees events in the order of a virtual clock that counts tokens, never
// of wall time, so a live run and a replay of its record decide alike.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "control/branches.h"

namespace foresight {

// One thing that a controller wants done.
struct Action {
  enum class Kind : std::uint8_t { start, fork, probe, prune, stop };
  Kind kind = Kind::start;
  std::int64_t count = 0;       // start
  std::int32_t branch = -1;     // fork, probe, prune
  AnswerId answer = kNoAnswer;  // stop; kNoAnswer: that of the vote
  std::string reason;           // prune, stop
};

// What a controller wants done, in its order.
class Actions {
 public:
  // New branches from the prompt.
  void start(std::int64_t count) { add(Action::Kind::start).count = count; }
  // The branch goes on twice from here, the second time with draws of its own.
  void fork(std::int32_t branch) { add(Action::Kind::fork).branch = branch; }
  // An answer is forced out of a copy of the branch; on_probe tells it.
  void probe(std::int32_t branch) { add(Action::Kind::probe).branch = branch; }
  void prune(std::int32_t branch, std::string reason) {
    Action& action = add(Action::Kind::prune);
    action.branch = branch;
    action.reason = std::move(reason);
  }
  // Ends the request with this answer, or with that of the final vote.
  void stop(AnswerId answer, std::string reason) {
    Action& action = add(Action::Kind::stop);
    action.answer = answer;
    action.reason = std::move(reason);
  }

  bool empty() const { return list_.empty(); }
  std::vector<Action>& list() { return list_; }

 private:
  Action& add(Action::Kind kind) {
    list_.emplace_back();
    list_.back().kind = kind;
    return list_.back();
  }

  std::vector<Action> list_;
};

// How the branches' answers are weighed at the end.
enum class VoteKind : std::uint8_t { majority, confidence };

// What a controller must be told, fixed for the whole request.
struct Needs {
  std::int64_t interval = 0;  // on_interval comes each time the clock has passed so many tokens
  std::int64_t probe_interval = 0;  // every branch is probed each time it has so many more tokens
  bool confidence = false;          // BranchRecord::confidence
  std::int64_t confidence_group = 2048;  // tokens of its sliding window
  bool cache_bytes = false;              // BranchRecord::cache_bytes
};

// One object per request, with the state of that request. Callbacks append what is to be done to
// `actions`; an action that names a branch that does not run throws ValueError. Events of one clock
// come in the order of branches, and on_interval after them.
class Controller {
 public:
  virtual ~Controller() = default;

  virtual Needs needs() const { return {}; }
  // Before anything runs: starts the first branches.
  virtual void on_start(const BranchesView& view, Actions& actions) = 0;
  virtual void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) {
    static_cast<void>(view), static_cast<void>(branch), static_cast<void>(actions);
  }
  // The branch has ended by itself.
  virtual void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) {
    static_cast<void>(view), static_cast<void>(branch), static_cast<void>(actions);
  }
  virtual void on_interval(const BranchesView& view, Actions& actions) {
    static_cast<void>(view), static_cast<void>(actions);
  }

  // The final weights, heaviest first. By default finished branches vote; where none of them has
  // an answer, all that are not pruned, by their last probes.
  virtual std::vector<Vote> votes(const BranchesView& view) const;

  void set_vote(VoteKind kind) { vote_ = kind; }
  VoteKind vote() const { return vote_; }

  // needs(), and what the vote needs.
  Needs all_needs() const {
    Needs all = needs();
    all.confidence = all.confidence || vote_ == VoteKind::confidence;
    return all;
  }

 private:
  VoteKind vote_ = VoteKind::majority;
};

}  // namespace foresight
