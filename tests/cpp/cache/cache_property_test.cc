// The cache against a naive model, over random operations. In the model a sequence is a vector of
// content ids; beside it the bytes of the pages are simulated by an array of content ids on which
// the copy lists are carried out. After each operation every sequence, read through its pages, must
// hold what the model says, and the cache must hold no page too many.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cache/cache.h"

namespace foresight {
namespace {

using Content = std::int64_t;

// FORESIGHT_PROPERTY_OPS raises the number of operations.
std::int64_t num_operations() {
  const char* text = std::getenv("FORESIGHT_PROPERTY_OPS");
  return std::max<std::int64_t>(120'000, text == nullptr ? 0 : std::atoll(text));
}

class World {
 public:
  World(std::int64_t num_pages, std::int64_t page_slots, std::uint32_t seed)
      : cache_(num_pages, page_slots),
        bytes_(static_cast<std::size_t>(num_pages * page_slots), -1),
        random_(seed) {}

  void operate() {
    switch (pick(12)) {
      case 0:
        return create();
      case 1:
      case 2:
        return fork();
      case 3:
        return release();
      case 4:
        return truncate();
      case 5:
      case 6:
      case 7:
        return reserve();
      case 8:
        return roll_back();
      default:
        return commit();
    }
  }

  // The contents, and the count of pages in use.
  void check() const {
    for (const auto& [handle, sequence] : model_) {
      ASSERT_EQ(cache_.length(handle), static_cast<std::int64_t>(sequence.contents.size()));
      ASSERT_EQ(cache_.in_step(handle), sequence.in_step);
      for (std::size_t slot = 0; slot < sequence.contents.size(); ++slot) {
        ASSERT_EQ(read(handle, slot), sequence.contents[slot]) << handle << " slot " << slot;
      }
      for (std::size_t row = 0; row < sequence.rows.size(); ++row) {
        ASSERT_EQ(read(handle, sequence.contents.size() + row), sequence.rows[row]);
      }
    }
    ASSERT_EQ(cache_.num_sequences(), static_cast<std::int64_t>(model_.size()));
    if (std::ranges::none_of(model_, [](const auto& entry) { return entry.second.in_step; })) {
      std::set<std::int32_t> pages;
      for (const auto& [handle, sequence] : model_) {
        pages.insert(cache_.pages(handle).begin(), cache_.pages(handle).end());
      }
      ASSERT_EQ(cache_.num_used_pages(), static_cast<std::int64_t>(pages.size()));
    }
  }

  void check_integrity() const { cache_.check_integrity(); }

  void tear_down() {
    while (!model_.empty()) {
      cache_.release(model_.begin()->first);
      model_.erase(model_.begin());
      cache_.check_integrity();
    }
    EXPECT_EQ(cache_.num_free_pages(), cache_.num_pages());
  }

  // How often each kind of thing has happened: a property test that tests nothing must not pass.
  struct Tally {
    std::int64_t commits = 0, rollbacks = 0, refusals = 0, replacements = 0, forks = 0, copies = 0;
  };
  Tally tally;

 private:
  static constexpr std::size_t kMaxSequences = 10;

  struct Model {
    std::vector<Content> contents;           // committed
    std::vector<Content> rows;               // of the open step
    std::vector<std::int32_t> replaced;      // announced for the open step
    std::vector<std::int32_t> pages_before;  // the step
    bool in_step = false;
  };

  std::int64_t pick(std::int64_t count) {
    return std::uniform_int_distribution<std::int64_t>(0, count - 1)(random_);
  }

  // A random sequence that is, or is not, in a step; null when there is none.
  std::map<Cache::Handle, Model>::value_type* pick_sequence(bool in_step) {
    std::vector<std::map<Cache::Handle, Model>::value_type*> candidates;
    for (auto& entry : model_) {
      if (entry.second.in_step == in_step) candidates.push_back(&entry);
    }
    if (candidates.empty()) return nullptr;
    return candidates[static_cast<std::size_t>(pick(std::ssize(candidates)))];
  }

  // Each number below `end` with the given chance, ascending.
  std::vector<std::int32_t> pick_subset(std::int64_t end, double chance) {
    std::vector<std::int32_t> numbers;
    std::bernoulli_distribution wanted(chance);
    for (std::int64_t number = 0; number < end; ++number) {
      if (wanted(random_)) numbers.push_back(static_cast<std::int32_t>(number));
    }
    return numbers;
  }

  Content& byte(std::int32_t page, std::int64_t slot) {
    return bytes_[static_cast<std::size_t>(page * cache_.page_slots() + slot)];
  }
  Content read(Cache::Handle handle, std::size_t slot) const {
    const auto number = static_cast<std::int64_t>(slot);
    return bytes_[static_cast<std::size_t>(cache_.page_of(handle, number) * cache_.page_slots() +
                                           cache_.slot_in_page(number))];
  }
  void carry_out(const std::vector<SlotCopy>& copies) {
    for (const SlotCopy& copy : copies) {
      byte(copy.to_page, copy.to_slot) = byte(copy.from_page, copy.from_slot);
    }
    tally.copies += std::ssize(copies);
  }

  void create() {
    if (model_.size() < kMaxSequences) model_[cache_.create()] = Model{};
  }

  void fork() {
    auto* parent = pick_sequence(false);
    if (parent == nullptr || model_.size() >= kMaxSequences) return create();
    const auto& contents = parent->second.contents;
    // Half of the forks are at the parent's full length, as most are in life.
    const std::int64_t length =
        pick(2) == 0 ? std::ssize(contents) : pick(std::ssize(contents) + 1);
    const Cache::Handle child = cache_.fork(parent->first, length);
    model_[child].contents.assign(contents.begin(), contents.begin() + length);
    ++tally.forks;
  }

  void release() {
    auto* sequence = pick_sequence(pick(4) == 0);
    if (sequence == nullptr || (model_.size() < kMaxSequences && pick(2) == 0)) return;
    const Cache::Handle handle = sequence->first;
    cache_.release(handle);
    model_.erase(handle);
  }

  void truncate() {
    auto* sequence = pick_sequence(false);
    if (sequence == nullptr) return;
    auto& contents = sequence->second.contents;
    // Mostly by little, so that sequences grow over several pages.
    const std::int64_t most =
        pick(5) == 0 ? std::ssize(contents) : std::min<std::int64_t>(3, std::ssize(contents));
    const std::int64_t length = std::ssize(contents) - pick(most + 1);
    cache_.truncate(sequence->first, length);
    contents.resize(static_cast<std::size_t>(length));
  }

  void reserve() {
    auto* entry = pick_sequence(false);
    if (entry == nullptr) return create();
    auto& [handle, sequence] = *entry;
    const std::int64_t count = pick(3) == 0 ? 1 : pick(3 * cache_.page_slots() + 2);
    std::vector<std::int32_t> replaced;
    if (pick(2) == 0) replaced = pick_subset(std::ssize(sequence.contents), 0.2);
    const std::int64_t free_before = cache_.num_free_pages();
    const std::int64_t needed = cache_.pages_needed(handle, count, replaced);
    const std::vector<std::int32_t> pages_before(cache_.pages(handle).begin(),
                                                 cache_.pages(handle).end());
    std::vector<SlotCopy> copies;
    const bool opened = cache_.reserve(handle, count, replaced, copies);
    ASSERT_EQ(opened, needed <= free_before);
    ASSERT_EQ(cache_.num_free_pages(), free_before - (opened ? needed : 0));
    if (!opened) {
      ++tally.refusals;
      ASSERT_TRUE(copies.empty());
      ASSERT_TRUE(std::ranges::equal(cache_.pages(handle), pages_before));
      return;
    }
    sequence.in_step = true;
    sequence.replaced = replaced;
    sequence.pages_before = pages_before;
    carry_out(copies);
    // The forward: each row is written into its reserved slot.
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t slot = std::ssize(sequence.contents) + row;
      sequence.rows.push_back(next_content_);
      byte(cache_.page_of(handle, slot), cache_.slot_in_page(slot)) = next_content_++;
    }
  }

  void roll_back() {
    auto* entry = pick_sequence(true);
    if (entry == nullptr) return;
    cache_.rollback(entry->first);
    ASSERT_TRUE(std::ranges::equal(cache_.pages(entry->first), entry->second.pages_before));
    close(entry->second);
    ++tally.rollbacks;
  }

  void commit() {
    auto* entry = pick_sequence(true);
    if (entry == nullptr) return reserve();
    auto& [handle, sequence] = *entry;
    const std::int64_t num_rows = std::ssize(sequence.rows);
    const double chances[] = {0.0, 0.3, 0.7, 1.0};
    const auto kept = pick_subset(num_rows, chances[pick(4)]);
    std::vector<Cache::Replacement> replacements;
    if (num_rows > 0) {
      for (std::int32_t slot : sequence.replaced) {
        if (pick(3) > 0) replacements.push_back({static_cast<std::int32_t>(pick(num_rows)), slot});
      }
    }
    std::ranges::shuffle(replacements, random_);
    std::vector<SlotCopy> copies;
    cache_.commit(handle, kept, replacements, copies);
    carry_out(copies);
    if (kept.empty() && replacements.empty()) {
      ASSERT_TRUE(std::ranges::equal(cache_.pages(handle), sequence.pages_before));
    }
    for (const Cache::Replacement& replacement : replacements) {
      sequence.contents[static_cast<std::size_t>(replacement.slot)] =
          sequence.rows[static_cast<std::size_t>(replacement.row)];
    }
    for (std::int32_t row : kept) {
      sequence.contents.push_back(sequence.rows[static_cast<std::size_t>(row)]);
    }
    close(sequence);
    ++tally.commits;
    tally.replacements += std::ssize(replacements);
  }

  static void close(Model& sequence) {
    sequence.rows.clear();
    sequence.replaced.clear();
    sequence.in_step = false;
  }

  Cache cache_;
  std::vector<Content> bytes_;  // [pages, page_slots]
  std::map<Cache::Handle, Model> model_;
  std::mt19937 random_;
  Content next_content_ = 0;
};

struct Shape {
  std::int64_t num_pages;
  std::int64_t page_slots;
};

class CacheProperty : public testing::TestWithParam<Shape> {};

TEST_P(CacheProperty, AgreesWithTheNaiveModel) {
  const auto [num_pages, page_slots] = GetParam();
  // Several worlds, so that none settles in one region of states.
  constexpr std::int64_t kOperationsPerWorld = 2000;
  const std::int64_t operations = num_operations() / 6;
  World::Tally total;
  for (std::int64_t done = 0, seed = 1; done < operations; done += kOperationsPerWorld, ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(num_pages, page_slots, static_cast<std::uint32_t>(seed));
    for (std::int64_t i = 0; i < kOperationsPerWorld; ++i) {
      SCOPED_TRACE(i);
      world.operate();
      world.check();
      if (i % 8 == 0) world.check_integrity();
      if (HasFatalFailure()) return;
    }
    world.tear_down();
    total.commits += world.tally.commits;
    total.rollbacks += world.tally.rollbacks;
    total.refusals += world.tally.refusals;
    total.replacements += world.tally.replacements;
    total.forks += world.tally.forks;
    total.copies += world.tally.copies;
  }
  for (std::int64_t happened : {total.commits, total.rollbacks, total.refusals, total.replacements,
                                total.forks, total.copies}) {
    EXPECT_GT(happened, operations / 1000);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CacheProperty,
                         testing::Values(Shape{4, 4}, Shape{12, 4}, Shape{40, 4}, Shape{10, 1},
                                         Shape{24, 16}, Shape{30, 3}),
                         [](const auto& shape) {
                           return std::to_string(shape.param.num_pages) + "PagesOf" +
                                  std::to_string(shape.param.page_slots);
                         });

}  // namespace
}  // namespace foresight
