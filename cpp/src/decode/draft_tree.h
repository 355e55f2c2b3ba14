// The shape of a tree of guesses: parents come before their children.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rows/rows.h"

namespace foresight {

// Per node: how many guesses its path has, itself included.
std::vector<std::int64_t> depths_of(std::span<const DraftNode> nodes);
// Whether every node follows the one before it.
bool is_chain(std::span<const DraftNode> nodes);
// Segment::ancestors of one row per node, behind `roots` rows (0 or 1) that all of them see.
std::vector<std::uint64_t> ancestors_of(std::span<const DraftNode> nodes, std::size_t roots);

}  // namespace foresight
