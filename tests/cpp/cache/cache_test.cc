#include "cache/cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "core/error.h"

namespace foresight {
namespace {

using Copies = std::vector<SlotCopy>;
using Pages = std::vector<std::int32_t>;
using Replacements = std::vector<Cache::Replacement>;

Pages pages_of(const Cache& cache, Cache::Handle handle) {
  const auto pages = cache.pages(handle);
  return {pages.begin(), pages.end()};
}

// Appends `count` rows and keeps them all.
void append(Cache& cache, Cache::Handle handle, std::int32_t count) {
  Copies copies;
  ASSERT_TRUE(cache.reserve(handle, count, {}, copies));
  Pages kept;
  for (std::int32_t row = 0; row < count; ++row) kept.push_back(row);
  cache.commit(handle, kept, {}, copies);
}

TEST(Cache, StartsEmpty) {
  const Cache cache(4, 16);
  EXPECT_EQ(cache.num_pages(), 4);
  EXPECT_EQ(cache.page_slots(), 16);
  EXPECT_EQ(cache.num_free_pages(), 4);
  EXPECT_EQ(cache.num_used_pages(), 0);
  EXPECT_EQ(cache.num_sequences(), 0);
  cache.check_integrity();
}

TEST(Cache, SizesMustBePositive) {
  EXPECT_THROW(Cache(0, 16), ValueError);
  EXPECT_THROW(Cache(4, 0), ValueError);
  EXPECT_THROW(Cache(-1, 16), ValueError);
  EXPECT_THROW(Cache(std::int64_t{1} << 31, 16), ValueError);
}

TEST(Cache, AppendingTakesPagesAsNeeded) {
  Cache cache(4, 4);
  const auto handle = cache.create();
  append(cache, handle, 3);
  EXPECT_EQ(pages_of(cache, handle), (Pages{0}));
  append(cache, handle, 3);
  EXPECT_EQ(pages_of(cache, handle), (Pages{0, 1}));
  EXPECT_EQ(cache.length(handle), 6);
  EXPECT_EQ(cache.page_of(handle, 5), 1);
  EXPECT_EQ(cache.slot_in_page(5), 1);
  EXPECT_THROW(cache.page_of(handle, 6), InternalError);
  EXPECT_THROW(cache.page_of(handle, -1), InternalError);
}

TEST(Cache, ReservedSlotsHavePagesButNoLength) {
  Cache cache(4, 4);
  const auto handle = cache.create();
  Copies copies;
  EXPECT_EQ(cache.pages_needed(handle, 6, {}), 2);
  ASSERT_TRUE(cache.reserve(handle, 6, {}, copies));
  EXPECT_TRUE(cache.in_step(handle));
  EXPECT_EQ(cache.length(handle), 0);
  EXPECT_EQ(cache.page_of(handle, 5), 1);
  cache.rollback(handle);
  EXPECT_FALSE(cache.in_step(handle));
  EXPECT_EQ(cache.num_used_pages(), 0);
  EXPECT_TRUE(copies.empty());
}

TEST(Cache, CommitCompactsKeptRowsAndFreesTheRest) {
  Cache cache(4, 4);
  const auto handle = cache.create();
  append(cache, handle, 3);
  Copies copies;
  ASSERT_TRUE(cache.reserve(handle, 8, {}, copies));  // slots 3 .. 10
  cache.commit(handle, Pages{0, 2, 5}, {}, copies);
  EXPECT_EQ(copies, (Copies{{1, 1, 1, 0}, {2, 0, 1, 1}}));  // slots 5 -> 4 and 8 -> 5
  EXPECT_EQ(cache.length(handle), 6);
  EXPECT_EQ(pages_of(cache, handle), (Pages{0, 1}));
  cache.check_integrity();
}

TEST(Cache, ForkSharesPagesUntilTheFirstWrite) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 6);
  const auto child = cache.fork(parent, 5);
  EXPECT_EQ(pages_of(cache, child), pages_of(cache, parent));
  EXPECT_EQ(cache.num_used_pages(), 2);
  // The child's own copy of the tail page holds the one slot that it shares.
  Copies copies;
  EXPECT_EQ(cache.pages_needed(child, 1, {}), 1);
  ASSERT_TRUE(cache.reserve(child, 1, {}, copies));
  EXPECT_EQ(copies, (Copies{{1, 0, 2, 0}}));
  cache.commit(child, Pages{0}, {}, copies);
  EXPECT_EQ(pages_of(cache, child), (Pages{0, 2}));
  // The parent is the last owner of its tail page now, and writes in place.
  copies.clear();
  ASSERT_TRUE(cache.reserve(parent, 1, {}, copies));
  EXPECT_TRUE(copies.empty());
  cache.commit(parent, Pages{0}, {}, copies);
  EXPECT_EQ(pages_of(cache, parent), (Pages{0, 1}));
  cache.check_integrity();
}

TEST(Cache, AForkAtAPageBoundaryCopiesNothing) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 6);
  const auto child = cache.fork(parent, 4);
  EXPECT_EQ(pages_of(cache, child), (Pages{0}));
  Copies copies;
  ASSERT_TRUE(cache.reserve(child, 1, {}, copies));
  EXPECT_TRUE(copies.empty());
  EXPECT_EQ(cache.page_of(child, 4), 2);
  cache.rollback(child);
}

TEST(Cache, AStepThatLeavesNoTracePutsTheSharedTailBack) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 6);
  const auto child = cache.fork(parent, 6);
  for (bool by_commit : {false, true}) {
    Copies copies;
    ASSERT_TRUE(cache.reserve(child, 5, {}, copies));
    EXPECT_EQ(cache.num_used_pages(), 4);
    cache.check_integrity();
    if (by_commit) {
      cache.commit(child, {}, {}, copies);
    } else {
      cache.rollback(child);
    }
    EXPECT_EQ(pages_of(cache, child), pages_of(cache, parent));
    EXPECT_EQ(cache.num_used_pages(), 2);
    cache.check_integrity();
  }
}

TEST(Cache, ReplacementsInOwnPagesAreWrittenInPlaceAtCommit) {
  Cache cache(4, 4);
  const auto handle = cache.create();
  append(cache, handle, 4);
  Copies copies;
  const Pages replaced{1, 2};
  EXPECT_EQ(cache.pages_needed(handle, 2, replaced), 1);
  ASSERT_TRUE(cache.reserve(handle, 2, replaced, copies));
  EXPECT_TRUE(copies.empty());
  cache.commit(handle, {}, Replacements{{0, 2}, {1, 1}}, copies);
  EXPECT_EQ(copies, (Copies{{1, 0, 0, 2}, {1, 1, 0, 1}}));
  EXPECT_EQ(cache.length(handle), 4);
  EXPECT_EQ(pages_of(cache, handle), (Pages{0}));
  cache.check_integrity();
}

TEST(Cache, ReplacementsInSharedPagesGetAnOwnCopyAtCommit) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 8);
  const auto child = cache.fork(parent, 8);
  Copies copies;
  const Pages replaced{1, 6};
  EXPECT_EQ(cache.pages_needed(child, 2, replaced), 3);
  ASSERT_TRUE(cache.reserve(child, 2, replaced, copies));
  EXPECT_TRUE(copies.empty()) << "the old content stays in place until commit";
  EXPECT_EQ(cache.page_of(child, 1), cache.page_of(parent, 1));
  cache.check_integrity();
  cache.commit(child, {}, Replacements{{0, 1}}, copies);
  const std::int32_t own = cache.page_of(child, 1);
  EXPECT_NE(own, cache.page_of(parent, 1));
  EXPECT_EQ(cache.page_of(child, 6), cache.page_of(parent, 6)) << "nothing was written there";
  ASSERT_EQ(copies.size(), 4u);
  EXPECT_EQ(copies[0], (SlotCopy{0, 0, own, 0}));
  EXPECT_EQ(copies[1], (SlotCopy{0, 2, own, 2}));
  EXPECT_EQ(copies[2], (SlotCopy{0, 3, own, 3}));
  EXPECT_EQ(copies[3].to_page, own);
  EXPECT_EQ(copies[3].to_slot, 1);
  EXPECT_EQ(cache.num_used_pages(), 3);
  cache.check_integrity();
}

TEST(Cache, AReplacementInTheCopiedTailNeedsNoSecondCopy) {
  Cache cache(4, 4);
  const auto parent = cache.create();
  append(cache, parent, 3);
  const auto child = cache.fork(parent, 3);
  Copies copies;
  const Pages replaced{1};
  EXPECT_EQ(cache.pages_needed(child, 1, replaced), 1);
  ASSERT_TRUE(cache.reserve(child, 1, replaced, copies));
  copies.clear();
  cache.commit(child, {}, Replacements{{0, 1}}, copies);
  EXPECT_EQ(copies, (Copies{{1, 3, 1, 1}}));
  EXPECT_EQ(pages_of(cache, child), (Pages{1}));
  EXPECT_EQ(pages_of(cache, parent), (Pages{0}));
  cache.check_integrity();
}

TEST(Cache, AShadowIsNotNeededOnceTheOtherOwnerIsGone) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 4);
  const auto child = cache.fork(parent, 4);
  Copies copies;
  ASSERT_TRUE(cache.reserve(child, 1, Pages{1}, copies));
  cache.release(parent);
  cache.commit(child, {}, Replacements{{0, 1}}, copies);
  EXPECT_EQ(pages_of(cache, child), (Pages{0}));
  EXPECT_EQ(copies.size(), 1u);
  cache.check_integrity();
}

TEST(Cache, ExhaustionChangesNothing) {
  Cache cache(3, 4);
  const auto parent = cache.create();
  append(cache, parent, 6);
  const auto child = cache.fork(parent, 6);
  Copies copies;
  EXPECT_EQ(cache.pages_needed(child, 3, {}), 2);
  EXPECT_FALSE(cache.reserve(child, 3, {}, copies));
  EXPECT_FALSE(cache.in_step(child));
  EXPECT_EQ(cache.num_free_pages(), 1);
  EXPECT_TRUE(copies.empty());
  EXPECT_EQ(pages_of(cache, child), pages_of(cache, parent));
  cache.check_integrity();
  EXPECT_TRUE(cache.reserve(child, 2, {}, copies));
  EXPECT_EQ(cache.num_free_pages(), 0);
}

TEST(Cache, TruncateFreesPagesPastTheEnd) {
  Cache cache(4, 4);
  const auto handle = cache.create();
  append(cache, handle, 10);
  cache.truncate(handle, 5);
  EXPECT_EQ(cache.num_used_pages(), 2);
  EXPECT_EQ(cache.length(handle), 5);
  cache.truncate(handle, 0);
  EXPECT_EQ(cache.num_used_pages(), 0);
  cache.check_integrity();
}

TEST(Cache, ReleaseRollsAnOpenStepBack) {
  Cache cache(8, 4);
  const auto parent = cache.create();
  append(cache, parent, 6);
  const auto child = cache.fork(parent, 6);
  Copies copies;
  ASSERT_TRUE(cache.reserve(child, 7, Pages{0, 1}, copies));
  cache.release(child);
  EXPECT_EQ(cache.num_sequences(), 1);
  EXPECT_EQ(cache.num_used_pages(), 2);
  cache.check_integrity();
  cache.release(parent);
  EXPECT_EQ(cache.num_free_pages(), 8);
}

TEST(Cache, HandlesAreReusedButNotBeforeTheirRelease) {
  Cache cache(4, 4);
  const auto first = cache.create();
  const auto second = cache.create();
  EXPECT_NE(first, second);
  cache.release(first);
  EXPECT_EQ(cache.create(), first);
  EXPECT_EQ(cache.length(first), 0);
  EXPECT_EQ(cache.num_sequences(), 2);
}

TEST(Cache, BrokenPreconditionsAreInternalErrors) {
  Cache cache(8, 4);
  const auto handle = cache.create();
  append(cache, handle, 6);
  Copies copies;
  EXPECT_THROW(cache.length(Cache::kNoHandle), InternalError);
  EXPECT_THROW(cache.length(99), InternalError);
  EXPECT_THROW(cache.fork(handle, 7), InternalError);
  EXPECT_THROW(cache.truncate(handle, 7), InternalError);
  EXPECT_THROW(cache.truncate(handle, -1), InternalError);
  EXPECT_THROW(cache.rollback(handle), InternalError);
  EXPECT_THROW(cache.commit(handle, {}, {}, copies), InternalError);
  EXPECT_THROW((void)cache.reserve(handle, -1, {}, copies), InternalError);
  EXPECT_THROW((void)cache.reserve(handle, 1, Pages{6}, copies), InternalError);
  EXPECT_THROW((void)cache.reserve(handle, 1, Pages{2, 2}, copies), InternalError);
  EXPECT_FALSE(cache.in_step(handle));

  const auto child = cache.fork(handle, 6);
  ASSERT_TRUE(cache.reserve(child, 2, Pages{5}, copies));
  EXPECT_THROW((void)cache.reserve(child, 1, {}, copies), InternalError);
  EXPECT_THROW(cache.pages_needed(child, 1, {}), InternalError);
  EXPECT_THROW(cache.fork(child, 1), InternalError);
  EXPECT_THROW(cache.truncate(child, 1), InternalError);
  EXPECT_THROW(cache.commit(child, Pages{1, 0}, {}, copies), InternalError);
  EXPECT_THROW(cache.commit(child, Pages{2}, {}, copies), InternalError);
  EXPECT_THROW(cache.commit(child, {}, Replacements{{2, 5}}, copies), InternalError);
  EXPECT_THROW(cache.commit(child, {}, Replacements{{0, 6}}, copies), InternalError);
  EXPECT_THROW(cache.commit(child, {}, Replacements{{0, 1}}, copies), InternalError)
      << "slot 1 lies in a shared page that reserve() was not told of";
  cache.check_integrity();
  cache.rollback(child);
  cache.release(child);
  EXPECT_THROW(cache.release(child), InternalError);
  cache.check_integrity();
}

}  // namespace
}  // namespace foresight
