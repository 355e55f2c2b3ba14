// One model, its cache, its threads, and the lock under which jobs take their steps.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/cache.h"
#include "engine/chunk_budget.h"
#include "engine/fair_mutex.h"
#include "engine/tenant.h"
#include "model/cpu_runtime.h"
#include "model/port.h"

namespace foresight {

class Engine {
 public:
  // More would only cost bookkeeping on small models.
  static constexpr std::int64_t kDefaultCachedTokens = std::int64_t{1} << 20;

  // The cache takes the whole pages that fit into kv_cache_bytes; 0: a quarter of the memory that
  // is available, at most kDefaultCachedTokens. Throws ValueError when not one page fits. The model
  // must have been made with the runtime's context.
  Engine(std::unique_ptr<CpuRuntime> runtime, std::unique_ptr<ModelPort> model,
         std::size_t kv_cache_bytes);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const CpuContext& context() const { return runtime_->context(); }
  ModelPort& model() { return *model_; }
  const ModelConfig& config() const { return model_->config(); }
  Cache& cache() { return cache_; }
  const Cache& cache() const { return cache_; }
  ChunkBudget& chunk_budget() { return chunk_budget_; }

  // Held during one step, and whenever tenants or the cache are touched.
  FairMutex& step_mutex() { return step_mutex_; }

  // Under the lock: tenants may be preempted between add and remove.
  void add_tenant(Tenant& tenant);
  // Releases its pages; nothing happens when it is removed already.
  void remove_tenant(Tenant& tenant);
  void release_pages(Tenant& tenant);
  // Takes the pages of one tenant: one that rests (the youngest first), else the youngest branch
  // that is younger than `order`; never a pinned one. False when there is none.
  bool preempt_for(std::uint64_t order);
  // Takes the pages of every tenant that is not pinned: what the worst pressure would do (tests,
  // and giving memory back).
  void preempt_all();
  // True when anybody but tenants of order >= `order` holds pages.
  bool older_tenants_hold_pages(std::uint64_t order) const;
  // Free pages, and those that only resting tenants hold.
  std::int64_t num_available_pages() const;
  std::int64_t num_preemptions() const { return num_preemptions_; }
  // Every second number: between two of them there is room for a copy of a branch.
  std::uint64_t next_order() { return next_order_.fetch_add(2); }

  // True while a step is open: a second one would overwrite what the model has computed for the
  // first.
  bool in_step() const { return in_step_; }
  void set_in_step(bool in_step) { in_step_ = in_step; }

  // Throws ValueError naming the first id outside [0, vocab).
  void check_tokens(std::span<const Token> tokens) const;
  // Throws CacheFullError when `length` tokens can never be cached.
  void check_fits(std::int64_t length) const;
  std::size_t page_bytes() const { return model_->page_bytes(); }
  // Pages that `length` slots of one role take.
  std::int64_t pages_for(std::int64_t length) const;
  void note_used_pages();
  std::int64_t peak_pages() const { return peak_pages_; }

 private:
  void preempt(Tenant& tenant);
  std::int64_t num_pages(const Tenant& tenant) const;

  std::unique_ptr<CpuRuntime> runtime_;
  std::unique_ptr<ModelPort> model_;
  Cache cache_;
  ChunkBudget chunk_budget_;
  FairMutex step_mutex_;
  std::vector<Tenant*> tenants_;
  std::atomic<std::uint64_t> next_order_{1};
  std::int64_t num_preemptions_ = 0;
  std::int64_t peak_pages_ = 0;
  bool in_step_ = false;
};

}  // namespace foresight
