// Whatever throws, and whenever: the job stays usable and the result is that of an undisturbed run.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "core/error.h"
#include "cpp/engine/rig.h"
#include "cpp/engine/test_policies.h"

namespace foresight::engine_test {
namespace {

// Throws in its n-th call.
class ThrowingProcessor final : public LogitsProcessor {
 public:
  ThrowingProcessor(std::int64_t calls, bool thread_safe)
      : calls_(calls), thread_safe_(thread_safe) {}
  void apply(const ScoreContext&, std::span<float>) const override {
    if (calls_-- == 0) throw std::runtime_error("processor failed");
  }
  bool thread_safe() const override { return thread_safe_; }

 private:
  mutable std::atomic<std::int64_t> calls_;
  bool thread_safe_;
};

std::vector<RequestSpec> few_specs() {
  std::vector<RequestSpec> specs{make_spec(some_tokens(6, 1), 5),
                                 make_spec(some_tokens(3, 2), 4, true, 3),
                                 make_spec(some_tokens(10, 3), 3)};
  specs[1].num_sequences = 3;
  specs[2].guidance_scale = 2.0f;
  return specs;
}

// Runs to the end through every exception and returns how many there were.
int run_through(Rig& rig, const std::vector<RequestSpec>& specs, const std::vector<Tokens>& wanted,
                FunctionRef<void()> poll, Until until = Until::done) {
  Job job(rig.engine);
  for (const RequestSpec& spec : specs) job.add(spec);
  int caught = 0;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> told;
  while (!job.done()) {
    try {
      for (const JobEvent& event : job.advance(until, poll)) {
        std::int64_t& known = told[{event.request, event.sequence}];
        EXPECT_EQ(event.first_new, known);
        known += event.num_new;
      }
    } catch (const std::runtime_error&) {
      ++caught;
      rig.check_integrity();
    }
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::int64_t j = 0; j < specs[i].num_sequences; ++j) {
      const Tokens tokens = new_tokens(job, static_cast<std::int64_t>(i), j);
      EXPECT_EQ(tokens, wanted[next++]);
    }
  }
  job.close();
  rig.expect_empty();
  return caught;
}

// Does it again with a failure at place 0, 1, 2, ... until a run has none.
void at_every_place(const std::function<int(std::int64_t place)>& run_with) {
  std::int64_t place = 0;
  while (run_with(place) > 0) ++place;
  EXPECT_GT(place, 5);
  EXPECT_LT(place, 200);
}

TEST(EngineErrors, InTheForward) {
  const auto wanted = run_alone(few_specs());
  for (const std::int64_t num_pages : {9, 1000}) {
    at_every_place([&](std::int64_t place) {
      Rig rig(num_pages);
      rig.engine->chunk_budget().fix(5);
      rig.model->forwards_until_failure = place;
      return run_through(rig, few_specs(), wanted, no_poll);
    });
  }
}

TEST(EngineErrors, InThePoll) {
  const auto wanted = run_alone(few_specs());
  for (const Until until : {Until::done, Until::finished, Until::step}) {
    at_every_place([&](std::int64_t place) {
      Rig rig(9);
      rig.engine->chunk_budget().fix(5);
      return run_through(
          rig, few_specs(), wanted,
          [&] {
            if (place-- == 0) throw std::runtime_error("cancelled");
          },
          until);
    });
  }
}

TEST(EngineErrors, InProcessors) {
  const auto wanted = run_alone(few_specs());
  for (const bool thread_safe : {false, true}) {
    at_every_place([&](std::int64_t place) {
      Rig rig(1000, 2);
      auto specs = few_specs();
      const auto processor = std::make_shared<ThrowingProcessor>(place, thread_safe);
      for (RequestSpec& spec : specs) spec.user_processors = {processor};
      return run_through(rig, specs, wanted, no_poll);
    });
  }
}

TEST(EngineErrors, InPlanAndAdvance) {
  const auto wanted = run_alone(few_specs());
  for (const bool in_plan : {false, true}) {
    for (const std::int64_t num_pages : {9, 1000}) {
      at_every_place([&](std::int64_t place) {
        Rig rig(num_pages);
        rig.engine->chunk_budget().fix(5);
        auto specs = few_specs();
        const auto policy =
            std::make_shared<Throwing>(specs[0].policy, in_plan ? place : -1, in_plan ? -1 : place);
        for (RequestSpec& spec : specs) spec.policy = policy;
        return run_through(rig, specs, wanted, no_poll, in_plan ? Until::step : Until::done);
      });
    }
  }
}

TEST(EngineErrors, WithStateInThePolicy) {
  auto specs = few_specs();
  specs.pop_back();
  const auto wanted = run_alone(specs);
  at_every_place([&](std::int64_t place) {
    Rig rig;
    const auto policy = std::make_shared<Throwing>(std::make_shared<Replacing>(5, true), -1, place);
    for (RequestSpec& spec : specs) spec.policy = policy;
    return run_through(rig, specs, wanted, no_poll);
  });
}

TEST(EngineErrors, InCopies) {
  // Sequences that share a partly filled page, and policies that keep a subset of rows, copy slots.
  auto specs = few_specs();
  const auto wanted = run_alone(specs);
  std::int64_t place = 0;
  int caught = 0;
  do {
    Rig rig;
    rig.model->copies_until_failure = place++;
    caught = run_through(rig, specs, wanted, no_poll);
  } while (caught > 0);
  EXPECT_GT(place, 1);

  RequestSpec spec = make_spec(some_tokens(6, 1), 20);
  const auto plain = run_alone({spec});
  Tokens oracle = spec.tokens;
  oracle.insert(oracle.end(), plain[0].begin(), plain[0].end());
  spec.policy = std::make_shared<Drafting>(Drafting::Shape::tree, oracle, 3);
  place = 0;
  do {
    Rig rig;
    rig.model->copies_until_failure = place++;
    caught = run_through(rig, {spec}, plain, no_poll);
  } while (caught > 0);
  EXPECT_GT(place, 1);
}

// A row of scores without a finite one.
class Forbidding final : public LogitsProcessor {
 public:
  void apply(const ScoreContext&, std::span<float> scores) const override {
    std::fill(scores.begin(), scores.end(), -std::numeric_limits<float>::infinity());
  }
};

TEST(EngineErrors, OfOneRequestLeaveTheOthersAsTheyAre) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec bad = make_spec(some_tokens(5, 1), 4);
  bad.user_processors = {std::make_shared<Forbidding>()};
  job.add(make_spec(some_tokens(6, 1), 5));
  job.add(bad);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  job.finish(1, 0, 0, StopReason::criteria);
  job.advance(Until::done, no_poll);
  EXPECT_EQ(new_tokens(job, 0), run_alone({make_spec(some_tokens(6, 1), 5)})[0]);
  job.close();
  rig.expect_empty();
}

// Breaks the rules of plans and commits.
class Broken final : public Policy {
 public:
  enum class Way : std::uint8_t {
    bad_slot,
    same_slot,
    role,
    twice,
    keeps_beyond,
    keeps_twice,
    does_nothing
  };
  explicit Broken(Way way) : way_(way) {}
  std::int64_t required_cache(const BranchView& view, const PolicyState&, Role) const override {
    return std::ssize(view.tokens) - 1;
  }
  Plan plan(const BranchView& view, const PolicyState&) const override {
    Plan plan;
    if (way_ == Way::does_nothing) return plan;
    Segment& segment = plan.segments.emplace_back();
    segment.rows.assign(2, causal_row(view.tokens.back(), std::ssize(view.tokens) - 1, 0));
    if (way_ == Way::bad_slot)
      segment.rows[0].replaces = static_cast<std::int32_t>(view.tokens.size());
    if (way_ == Way::same_slot) segment.rows[0].replaces = segment.rows[1].replaces = 1;
    if (way_ == Way::role) segment.role = Role::unconditional;
    if (way_ == Way::twice) plan.segments.push_back(segment);
    return plan;
  }
  Commit advance(const BranchView&, PolicyState&, const Plan&, Readout&) const override {
    Commit commit;
    if (way_ == Way::keeps_beyond) commit.kept_rows = {{0, 2}};
    if (way_ == Way::keeps_twice) commit.kept_rows = {{1, 1}};
    if (way_ == Way::same_slot) commit.kept_rows = {{0, 1}};
    if (way_ == Way::same_slot) commit.stop = StopReason::controller;
    return commit;
  }

 private:
  Way way_;
};

TEST(EngineErrors, OfBrokenPoliciesAreInternalErrors) {
  using Way = Broken::Way;
  for (const Way way : {Way::bad_slot, Way::role, Way::twice, Way::keeps_beyond, Way::keeps_twice,
                        Way::does_nothing}) {
    Rig rig;
    Job job(rig.engine);
    job.add(make_spec(some_tokens(6, 1), 5));
    RequestSpec spec = make_spec(some_tokens(6, 1), 5);
    spec.policy = std::make_shared<Broken>(way);
    job.add(spec);
    EXPECT_THROW(job.advance(Until::done, no_poll), InternalError) << static_cast<int>(way);
    rig.check_integrity();
    job.finish(1, 0, 0, StopReason::criteria);
    job.advance(Until::done, no_poll);
    EXPECT_EQ(new_tokens(job, 0), run_alone({make_spec(some_tokens(6, 1), 5)})[0]);
    job.close();
    rig.expect_empty();
  }
  Rig rig;
  RequestSpec spec = make_spec(some_tokens(6, 1), 5);
  spec.policy = std::make_shared<Broken>(Way::same_slot);
  EXPECT_TRUE(run(rig, {spec})[0].empty());
}

// Calls the engine that is calling it.
class Recursive final : public LogitsProcessor {
 public:
  explicit Recursive(std::function<void()> call) : call_(std::move(call)) {}
  void apply(const ScoreContext&, std::span<float>) const override { call_(); }
  bool thread_safe() const override { return false; }

 private:
  std::function<void()> call_;
};

TEST(EngineErrors, CallsFromWithinAStepNeitherHangNorHarm) {
  Rig rig;
  const RequestSpec plain = make_spec(some_tokens(6, 1), 5);
  RequestSpec spec = plain;
  auto forgotten = std::make_unique<Session>(rig.engine);
  Session* pointer = forgotten.get();
  feed(*rig.engine, {&pointer, 1}, {some_tokens(9, 1)}, FeedWant::none, {}, no_poll);
  auto abandoned = std::make_unique<Job>(rig.engine);
  abandoned->add(make_spec(some_tokens(9, 4), 9));
  abandoned->advance(Until::step, no_poll);
  int refused = 0;
  spec.user_processors = {std::make_shared<Recursive>([&] {
    try {
      Job inner(rig.engine);
      inner.add(plain);
      inner.advance(Until::done, no_poll);
    } catch (const ValueError&) {
      ++refused;
    }
    // A garbage collector may come by.
    forgotten.reset();
    abandoned.reset();
    rig.preempt_all();
  })};
  EXPECT_EQ(run(rig, {spec}), run_alone({plain}));
  EXPECT_EQ(refused, 5);
  rig.expect_empty();
}

}  // namespace
}  // namespace foresight::engine_test
