// Conducts the branches of one request: puts what happens to them in the order of the virtual
// clock, tells the controller, and does what it says. The same code conducts live branches and
// recorded ones; where they live is behind Stage.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/controller.h"

namespace foresight {

// Where branches live. Branches are numbered from 0 in the order in which start() and fork() make
// them; tokens are those after the prompt, inherited ones included.
class Stage {
 public:
  virtual ~Stage() = default;

  virtual void start() = 0;
  // A branch with the first num_tokens tokens of `parent`.
  virtual void fork(std::int32_t parent, std::int64_t num_tokens) = 0;
  // The controller has ended a branch with its first num_tokens tokens; what it has beyond them is
  // void.
  virtual void end(std::int32_t branch, BranchStatus status, std::int64_t num_tokens) = 0;

  // How far the branch has come, for all that is known now: it never goes back.
  virtual std::int64_t num_tokens(std::int32_t branch) = 0;
  struct Ending {
    std::int64_t num_tokens = 0;  // that the branch has, and is charged for
    std::int64_t noticed_at = 0;  // tokens at which the controller hears of it
    AnswerId answer = kNoAnswer;
  };
  // How it has ended by itself, if it has.
  virtual std::optional<Ending> ending(std::int32_t branch) = 0;
  // The answer of a probe after num_tokens tokens; nothing while it is not known. Asked again until
  // it is.
  virtual std::optional<AnswerId> probe(std::int32_t branch, std::int64_t num_tokens) = 0;
  // Asked only of those that the controller needs, a confidence only after a whole group of tokens,
  // or at the branch's own end. It is the least mean so far of a group.
  virtual double confidence(std::int32_t branch, std::int64_t num_tokens) = 0;
  virtual std::int64_t cache_bytes(std::int32_t branch, std::int64_t num_tokens) = 0;
  // Whether it stands still for want of memory.
  virtual bool is_starved(std::int32_t branch) = 0;
};

// virtual_time: decisions are as with unlimited memory. arrival: branches that wait for memory, or
// are behind because they had to, keep nobody waiting; the same while all fit.
enum class EventOrder : std::uint8_t { virtual_time, arrival };

struct Outcome {
  AnswerId answer = kNoAnswer;
  // The branch that stands for the answer; -1: there is none at all. See Conductor::winner_of.
  std::int32_t winner = -1;
  std::vector<Vote> votes;  // heaviest first
  std::int64_t clock = 0;   // when the request ended
  std::string reason;       // of the controller's stop; empty: all branches have ended
};

class Conductor {
 public:
  Conductor(std::shared_ptr<Controller> controller, Stage& stage, EventOrder order);

  // Tells everything that is due, and does what the controller says. Exceptions of the controller
  // pass through. Does nothing when done.
  void run();
  bool done() const { return outcome_.has_value(); }
  const Needs& needs() const { return needs_; }
  // Of a request that is done.
  const Outcome& outcome() const { return *outcome_; }
  std::span<const BranchRecord> branches() const { return branches_; }
  // Events that were told while a branch waited for memory: the order may differ from the virtual
  // one.
  std::int64_t num_early_events() const { return num_early_events_; }

  // The branch that stands for an answer: the first finished one that gave it, else the first not
  // pruned whose last probe did; without an answer the longest finished one, else the longest.
  static std::int32_t winner_of(std::span<const BranchRecord> branches, AnswerId answer);

 private:
  static constexpr std::int64_t kNever = INT64_MAX;

  // What is known of a running branch that has not been told yet.
  struct Track {
    std::int64_t next_event = kNever;  // clock of the probe or the ending that comes next
    bool event_is_ending = false;
    std::int64_t horizon = 0;           // how far it has come: all events up to there are known
    std::int64_t next_probe = kNever;   // tokens, of the interval
    std::int64_t asked_probe = kNever;  // tokens, of an action
    bool is_late = false;  // for want of memory: in order of arrival nobody waits for it
  };

  void begin();
  void look(std::int32_t branch);
  // The running branch whose event comes first; -1: none is known.
  std::int32_t first_event() const;
  bool is_due(std::int64_t clock) const;
  bool tell_event(std::int32_t branch);
  void tell_interval();
  void update_records();
  void obey(Actions& actions);
  void add_branch(std::int32_t parent, std::int64_t inherited);
  void end_branch(std::int32_t branch, BranchStatus status, std::string reason);
  void check_running(std::int32_t branch, const char* action) const;
  void conclude_if_idle();
  // kNoAnswer: the votes decide.
  void conclude(AnswerId answer, std::string reason);
  BranchesView view() const { return {branches_, clock_}; }
  BranchRecord& record(std::int32_t i) { return branches_[static_cast<std::size_t>(i)]; }
  const BranchRecord& record(std::int32_t i) const {
    return branches_[static_cast<std::size_t>(i)];
  }
  Track& track(std::int32_t i) { return tracks_[static_cast<std::size_t>(i)]; }
  const Track& track(std::int32_t i) const { return tracks_[static_cast<std::size_t>(i)]; }
  std::int64_t clock_of(const BranchRecord& branch, std::int64_t num_tokens) const {
    return branch.start + num_tokens - branch.inherited;
  }
  std::int32_t size() const { return static_cast<std::int32_t>(branches_.size()); }

  std::shared_ptr<Controller> controller_;
  Stage& stage_;
  EventOrder order_;
  Needs needs_;
  bool has_begun_ = false;
  std::int64_t clock_ = 0;
  std::int64_t next_interval_ = kNever;
  std::int64_t num_early_events_ = 0;
  std::vector<BranchRecord> branches_;
  std::vector<Track> tracks_;
  std::optional<Outcome> outcome_;
};

}  // namespace foresight
