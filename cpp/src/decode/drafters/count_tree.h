// How often every window of up to max_depth tokens occurs in a set of growing sequences: a suffix
// tree cut at a depth, with counts, kept exact under appended tokens and the removal of the oldest
// sequence.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "rows/rows.h"

namespace foresight {

// Windows of all sequences hang below the root kAll; those of sequences that were started with a
// key below a root of that key as well.
//
// A node is a run of tokens below its parent. Every node but a root branches, or is where some
// window ends, so there are at most two for each token and root. Its tokens are read from the
// newest sequence that passes it: since the oldest is removed first, they are there as long as the
// node is. Not thread safe.
class CountTree {
 public:
  using NodeId = std::uint32_t;
  using SequenceId = std::uint32_t;  // ascending: the oldest is the lowest

  static constexpr std::int64_t kMaxDepth = 256;
  static constexpr NodeId kNoNode = 0xffffffff;
  static constexpr NodeId kAll = 0;

  // A place in the tree: the first `offset` tokens of a node's run are passed. A root has offset 0.
  struct Place {
    NodeId node = kNoNode;
    std::uint32_t offset = 0;
    explicit operator bool() const { return node != kNoNode; }
  };
  struct Child {
    Token token = 0;
    std::int64_t count = 0;
  };

  explicit CountTree(std::int64_t max_depth);

  SequenceId start(std::optional<std::uint64_t> key = std::nullopt);
  // The last tokens of a sequence may come with windows_start false: only windows that began before
  // them are counted then.
  void append(SequenceId sequence, Token token, bool windows_start = true);
  void finish(SequenceId sequence);  // nothing more will be appended
  void remove_oldest();

  bool holds(SequenceId sequence) const {
    return sequence >= oldest_ && sequence - oldest_ < sequences_.size();
  }
  SequenceId oldest() const { return oldest_; }
  std::span<const Token> tokens(SequenceId sequence) const { return at(sequence).tokens; }
  std::optional<std::uint64_t> key(SequenceId sequence) const { return at(sequence).key; }
  std::int64_t num_sequences() const { return std::ssize(sequences_); }
  std::int64_t num_tokens() const { return num_tokens_; }
  std::int64_t num_nodes() const { return std::ssize(nodes_) - std::ssize(free_); }
  std::int64_t max_depth() const { return max_depth_; }

  NodeId root_of(std::uint64_t key) const;  // kNoNode: no sequence has the key

  // Where the window ends that starts at `root`; none when it does not occur.
  Place find(NodeId root, std::span<const Token> window) const;
  Place step(Place place, Token token) const;
  // How often a window occurs, and how often a token follows it within max_depth.
  std::int64_t count(Place place) const { return nodes_[place.node].count; }
  std::int64_t count_continued(Place place) const;
  // Calls visit(Child), most frequent first, until it returns false. Not for roots.
  template <typename Visit>
  void each_child(Place place, Visit visit) const {
    const Node& node = nodes_[place.node];
    if (place.offset < node.length) {
      visit(Child{label(node, place.offset), node.count});
      return;
    }
    for (const NodeId child : node.children) {
      if (!visit(Child{nodes_[child].token, nodes_[child].count})) return;
    }
  }

 private:
  struct Node {
    NodeId parent = kNoNode;
    Token token = 0;  // the first of its run
    SequenceId sequence = 0;
    std::uint32_t start = 0;  // its run is tokens[start : start + length] of `sequence`
    std::uint32_t length = 0;
    std::uint32_t index = 0;       // among the parent's children
    std::int32_t count = 0;        // windows that pass it or end in it; of a root: its sequences
    std::int32_t ends = 0;         // windows that end with its run
    std::vector<NodeId> children;  // most frequent first; a root keeps no list
  };
  // A window that still grows; it ends with the run of `node`.
  struct Open {
    NodeId node = kNoNode;
    std::uint32_t depth = 0;
  };
  struct Below {
    NodeId root = kNoNode;
    std::vector<Open> open;
  };
  struct Sequence {
    std::vector<Token> tokens;
    std::vector<Below> roots;
    std::optional<std::uint64_t> key;
    std::uint32_t num_starts = 0;
  };

  Sequence& at(SequenceId sequence) { return sequences_[sequence - oldest_]; }
  const Sequence& at(SequenceId sequence) const { return sequences_[sequence - oldest_]; }
  bool is_root(const Node& node) const { return node.parent == kNoNode; }
  Token label(const Node& node, std::uint32_t offset) const {
    return at(node.sequence).tokens[node.start + offset];
  }

  NodeId make_node();
  void free_node(NodeId id);
  NodeId advance(NodeId from, Token token, SequenceId sequence, std::uint32_t position);
  void see(Node& node, SequenceId sequence, std::uint32_t start);
  void attach(NodeId child, NodeId parent);
  void detach(NodeId child);
  void replace(NodeId child, NodeId by);
  void add_one(NodeId id);
  void take_one(NodeId id);
  void merge_if_passed(NodeId id);
  void remove_window(NodeId root, std::span<const Token> window);

  // The hash table of children by (parent, first token).
  std::size_t home(NodeId parent, Token token) const;
  NodeId child_of(NodeId parent, Token token) const;
  void insert(NodeId child);
  void erase(NodeId child);

  std::uint32_t max_depth_;
  std::vector<Node> nodes_;
  std::vector<NodeId> free_;
  std::vector<NodeId> table_;
  std::size_t num_in_table_ = 0;
  std::deque<Sequence> sequences_;
  SequenceId oldest_ = 0;
  std::int64_t num_tokens_ = 0;
  std::unordered_map<std::uint64_t, NodeId> roots_;
};

}  // namespace foresight
