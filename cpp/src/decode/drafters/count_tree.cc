#include "decode/drafters/count_tree.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace foresight {

CountTree::CountTree(std::int64_t max_depth)
    : max_depth_(static_cast<std::uint32_t>(max_depth)), nodes_(1), table_(64, kNoNode) {
  FORESIGHT_CHECK(max_depth >= 2 && max_depth <= kMaxDepth, concat("max_depth ", max_depth));
}

CountTree::SequenceId CountTree::start(std::optional<std::uint64_t> key) {
  FORESIGHT_CHECK(oldest_ < kNoNode - sequences_.size(), "sequence ids have 32 bits");
  Sequence& sequence = sequences_.emplace_back();
  sequence.key = key;
  sequence.roots.push_back({.root = kAll, .open = {}});
  if (key) {
    auto [entry, is_new] = roots_.try_emplace(*key, kNoNode);
    if (is_new) entry->second = make_node();
    sequence.roots.push_back({.root = entry->second, .open = {}});
  }
  for (const Below& below : sequence.roots) ++nodes_[below.root].count;
  return oldest_ + static_cast<SequenceId>(sequences_.size() - 1);
}

void CountTree::append(SequenceId id, Token token, bool windows_start) {
  Sequence& sequence = at(id);
  const auto position = static_cast<std::uint32_t>(sequence.tokens.size());
  sequence.tokens.push_back(token);
  ++num_tokens_;
  if (windows_start) ++sequence.num_starts;
  for (Below& below : sequence.roots) {
    if (windows_start) below.open.push_back({.node = below.root, .depth = 0});
    for (Open& open : below.open) {
      open.node = advance(open.node, token, id, position);
      ++open.depth;
    }
    // The longest one comes first.
    if (!below.open.empty() && below.open.front().depth == max_depth_)
      below.open.erase(below.open.begin());
  }
}

void CountTree::finish(SequenceId sequence) {
  for (Below& below : at(sequence).roots) below.open = {};
}

void CountTree::remove_oldest() {
  const Sequence& sequence = sequences_.front();
  for (const Below& below : sequence.roots) {
    const std::span<const Token> all = sequence.tokens;
    for (std::size_t i = 0; i < sequence.num_starts; ++i)
      remove_window(below.root, all.subspan(i, std::min<std::size_t>(max_depth_, all.size() - i)));
    if (--nodes_[below.root].count == 0 && below.root != kAll) {
      roots_.erase(*sequence.key);
      free_node(below.root);
    }
  }
  num_tokens_ -= std::ssize(sequence.tokens);
  sequences_.pop_front();
  ++oldest_;
}

CountTree::NodeId CountTree::root_of(std::uint64_t key) const {
  const auto entry = roots_.find(key);
  return entry == roots_.end() ? kNoNode : entry->second;
}

CountTree::Place CountTree::step(Place place, Token token) const {
  const Node& node = nodes_[place.node];
  if (place.offset < node.length) {
    if (label(node, place.offset) != token) return {};
    return {.node = place.node, .offset = place.offset + 1};
  }
  return {.node = child_of(place.node, token), .offset = 1};
}

CountTree::Place CountTree::find(NodeId root, std::span<const Token> window) const {
  Place place{.node = root, .offset = 0};
  for (const Token token : window) {
    place = step(place, token);
    if (!place) break;
  }
  return place;
}

std::int64_t CountTree::count_continued(Place place) const {
  const Node& node = nodes_[place.node];
  return place.offset < node.length ? node.count : node.count - node.ends;
}

// Moves a window that ends with the run of `from` on by one token, which is at `position` of the
// sequence. Nodes in which other windows end stay what they are.
CountTree::NodeId CountTree::advance(NodeId from, Token token, SequenceId sequence,
                                     std::uint32_t position) {
  const bool from_root = is_root(nodes_[from]);
  const NodeId child = child_of(from, token);
  if (child == kNoNode) {
    Node& node = nodes_[from];
    if (!from_root && node.count == 1) {  // nobody else is here: its run is this window's own
      ++node.length;
      return from;
    }
    if (!from_root) --node.ends;
    const NodeId leaf = make_node();
    Node& made = nodes_[leaf];
    made.token = token;
    made.sequence = sequence;
    made.start = position;
    made.length = made.count = made.ends = 1;
    attach(leaf, from);
    return leaf;
  }
  if (nodes_[child].length == 1) {
    if (!from_root) --nodes_[from].ends;
    add_one(child);
    ++nodes_[child].ends;
    see(nodes_[child], sequence, position);
    merge_if_passed(from);
    return child;
  }
  if (!from_root && nodes_[from].ends == 1 && nodes_[from].children.size() == 1) {
    // The border between the two moves along with the only window that ends at it.
    ++nodes_[from].length;
    erase(child);
    Node& below = nodes_[child];
    ++below.start, --below.length;
    below.token = label(below, 0);
    insert(child);
    return from;
  }
  if (!from_root) --nodes_[from].ends;
  const NodeId middle = make_node();  // the child's first token
  Node& upper = nodes_[middle];
  Node& lower = nodes_[child];
  upper.token = token;
  upper.sequence = lower.sequence;
  upper.start = lower.start;
  upper.length = 1;
  upper.count = lower.count;
  replace(child, middle);
  ++lower.start, --lower.length;
  lower.token = label(lower, 0);
  attach(child, middle);
  add_one(middle);
  upper.ends = 1;
  see(upper, sequence, position);
  return middle;
}

// The newest sequence that passes a node holds its run.
void CountTree::see(Node& node, SequenceId sequence, std::uint32_t start) {
  if (sequence <= node.sequence) return;
  node.sequence = sequence;
  node.start = start;
}

// A node in which no window ends and that does not branch becomes part of its only child.
void CountTree::merge_if_passed(NodeId id) {
  Node& node = nodes_[id];
  if (is_root(node) || node.ends > 0 || node.children.size() != 1) return;
  const NodeId only = node.children.front();
  erase(only);
  Node& child = nodes_[only];
  child.start -= node.length;
  child.length += node.length;
  child.token = node.token;
  replace(id, only);
  free_node(id);
}

void CountTree::remove_window(NodeId root, std::span<const Token> window) {
  NodeId id = root;
  for (std::size_t i = 0; i < window.size(); i += nodes_[id].length) {
    id = child_of(id, window[i]);
    FORESIGHT_CHECK(id != kNoNode && nodes_[id].length <= window.size() - i, "a counted window");
    take_one(id);
  }
  --nodes_[id].ends;
  if (nodes_[id].count > 0) {
    merge_if_passed(id);
    return;
  }
  const NodeId parent = nodes_[id].parent;
  detach(id);
  free_node(id);
  merge_if_passed(parent);
}

CountTree::NodeId CountTree::make_node() {
  if (!free_.empty()) {
    const NodeId id = free_.back();
    free_.pop_back();
    return id;
  }
  FORESIGHT_CHECK(nodes_.size() < kNoNode, "node ids have 32 bits");
  nodes_.emplace_back();
  return static_cast<NodeId>(nodes_.size() - 1);
}

void CountTree::free_node(NodeId id) {
  nodes_[id] = {};
  free_.push_back(id);
}

// As the last of the parent's children: of one window, or the only one.
void CountTree::attach(NodeId child, NodeId parent) {
  nodes_[child].parent = parent;
  insert(child);
  if (is_root(nodes_[parent])) return;
  nodes_[child].index = static_cast<std::uint32_t>(nodes_[parent].children.size());
  nodes_[parent].children.push_back(child);
}

// A child that nothing passes any more, hence the last.
void CountTree::detach(NodeId child) {
  erase(child);
  Node& parent = nodes_[nodes_[child].parent];
  if (!is_root(parent)) parent.children.pop_back();
}

// `by` takes the child's place below its parent: it has the same first token and count.
void CountTree::replace(NodeId child, NodeId by) {
  erase(child);
  nodes_[by].parent = nodes_[child].parent;
  nodes_[by].index = nodes_[child].index;
  insert(by);
  Node& parent = nodes_[nodes_[child].parent];
  if (!is_root(parent)) parent.children[nodes_[child].index] = by;
}

void CountTree::add_one(NodeId id) {
  Node& node = nodes_[id];
  std::vector<NodeId>& siblings = nodes_[node.parent].children;
  if (siblings.size() > 1) {  // it becomes the first of those with its count
    const auto first = std::ranges::partition_point(
        siblings, [&](NodeId other) { return nodes_[other].count > node.count; });
    std::swap(nodes_[*first].index, node.index);
    std::swap(*first, siblings[nodes_[*first].index]);
  }
  ++node.count;
}

void CountTree::take_one(NodeId id) {
  Node& node = nodes_[id];
  std::vector<NodeId>& siblings = nodes_[node.parent].children;
  if (siblings.size() > 1) {  // it becomes the last of those with its count
    const auto last =
        std::ranges::partition_point(
            siblings, [&](NodeId other) { return nodes_[other].count >= node.count; }) -
        1;
    std::swap(nodes_[*last].index, node.index);
    std::swap(*last, siblings[nodes_[*last].index]);
  }
  --node.count;
}

std::size_t CountTree::home(NodeId parent, Token token) const {
  std::uint64_t hash = (std::uint64_t{parent} << 32 | static_cast<std::uint32_t>(token)) *
                       std::uint64_t{0x9E3779B97F4A7C15};
  hash ^= hash >> 32;
  return static_cast<std::size_t>(hash) & (table_.size() - 1);
}

CountTree::NodeId CountTree::child_of(NodeId parent, Token token) const {
  for (std::size_t slot = home(parent, token);; slot = (slot + 1) & (table_.size() - 1)) {
    const NodeId id = table_[slot];
    if (id == kNoNode || (nodes_[id].parent == parent && nodes_[id].token == token)) return id;
  }
}

void CountTree::insert(NodeId child) {
  if (2 * (num_in_table_ + 1) > table_.size()) {
    std::vector<NodeId> old(table_.size() * 2, kNoNode);
    old.swap(table_);
    num_in_table_ = 0;
    for (const NodeId id : old) {
      if (id != kNoNode) insert(id);
    }
  }
  std::size_t slot = home(nodes_[child].parent, nodes_[child].token);
  while (table_[slot] != kNoNode) slot = (slot + 1) & (table_.size() - 1);
  table_[slot] = child;
  ++num_in_table_;
}

// What was pushed on by the slot's owner moves back, so that no search ends too early.
void CountTree::erase(NodeId child) {
  const std::size_t mask = table_.size() - 1;
  std::size_t hole = home(nodes_[child].parent, nodes_[child].token);
  while (table_[hole] != child) hole = (hole + 1) & mask;
  for (std::size_t slot = (hole + 1) & mask; table_[slot] != kNoNode; slot = (slot + 1) & mask) {
    const Node& node = nodes_[table_[slot]];
    if (((slot - home(node.parent, node.token)) & mask) >= ((slot - hole) & mask)) {
      table_[hole] = table_[slot];
      hole = slot;
    }
  }
  table_[hole] = kNoNode;
  --num_in_table_;
}

}  // namespace foresight
