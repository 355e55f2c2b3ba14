#include "engine/engine.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/memory.h"

namespace foresight {

namespace {

std::int64_t pages_within(const ModelPort& model, std::size_t kv_cache_bytes) {
  std::size_t pages = kv_cache_bytes / model.page_bytes();
  if (kv_cache_bytes == 0) {
    const auto most = static_cast<std::size_t>(Engine::kDefaultCachedTokens / model.page_slots());
    pages = std::clamp<std::size_t>(available_memory() / 4 / model.page_bytes(), 1, most);
  }
  if (pages == 0) {
    throw ValueError(concat("kv_cache_bytes ", kv_cache_bytes, " holds no page: one page of ",
                            model.page_slots(), " tokens takes ", model.page_bytes(), " bytes"));
  }
  return static_cast<std::int64_t>(
      std::min(pages, static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())));
}

}  // namespace

Engine::Engine(std::unique_ptr<CpuRuntime> runtime, std::unique_ptr<ModelPort> model,
               std::size_t kv_cache_bytes)
    : runtime_(std::move(runtime)),
      model_(std::move(model)),
      cache_(pages_within(*model_, kv_cache_bytes), model_->page_slots()) {
  model_->allocate_pages(cache_.num_pages());
}

Engine::~Engine() = default;

void Engine::add_tenant(Tenant& tenant) { tenants_.push_back(&tenant); }

void Engine::remove_tenant(Tenant& tenant) {
  release_pages(tenant);
  const auto found = std::find(tenants_.begin(), tenants_.end(), &tenant);
  if (found == tenants_.end()) return;
  *found = tenants_.back();  // their order is their `order`
  tenants_.pop_back();
}

void Engine::release_pages(Tenant& tenant) {
  for (Cache::Handle& handle : tenant.handles) {
    if (handle == Cache::kNoHandle) continue;
    cache_.release(handle);
    handle = Cache::kNoHandle;
  }
}

bool Engine::preempt_for(std::uint64_t order) {
  const auto now = Clock::now();
  Tenant* victim = nullptr;
  bool victim_rests = false;
  for (Tenant* tenant : tenants_) {
    if (tenant->pinned || !tenant->holds_pages()) continue;
    const bool rests = tenant->rests(now);
    if (!rests && tenant->order <= order) continue;
    const bool better =
        victim == nullptr || (rests != victim_rests ? rests : tenant->order > victim->order);
    if (!better) continue;
    victim = tenant;
    victim_rests = rests;
  }
  if (victim == nullptr) return false;
  preempt(*victim);
  return true;
}

void Engine::preempt_all() {
  for (Tenant* tenant : tenants_) {
    if (!tenant->pinned && tenant->holds_pages()) preempt(*tenant);
  }
}

void Engine::preempt(Tenant& tenant) {
  const std::int64_t free_before = cache_.num_free_pages();
  release_pages(tenant);
  tenant.starved = true;
  // Pages that others share stay where they are, and come back by sharing: no work is lost.
  if (cache_.num_free_pages() > free_before) ++num_preemptions_;
}

bool Engine::older_tenants_hold_pages(std::uint64_t order) const {
  return std::any_of(tenants_.begin(), tenants_.end(), [&](const Tenant* tenant) {
    return tenant->order < order && num_pages(*tenant) > 0;
  });
}

std::int64_t Engine::num_available_pages() const {
  const auto now = Clock::now();
  std::int64_t pages = cache_.num_free_pages();
  for (const Tenant* tenant : tenants_) {
    if (tenant->pinned || !tenant->rests(now)) continue;
    for (const Cache::Handle handle : tenant->handles) {
      if (handle != Cache::kNoHandle) pages += cache_.num_unshared_pages(handle);
    }
  }
  return pages;
}

std::int64_t Engine::num_pages(const Tenant& tenant) const {
  std::int64_t pages = 0;
  for (const Cache::Handle handle : tenant.handles) {
    if (handle != Cache::kNoHandle) pages += std::ssize(cache_.pages(handle));
  }
  return pages;
}

void Engine::check_tokens(std::span<const Token> tokens) const {
  const auto vocab = static_cast<Token>(config().vocab_size);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab) {
      throw ValueError(concat("token id ", tokens[i], " at position ", i, " is outside [0, ", vocab,
                              "), the model's vocabulary"));
    }
  }
}

void Engine::check_fits(std::int64_t length) const {
  const std::int64_t slots = cache_.num_pages() * cache_.page_slots();
  if (length > slots) {
    throw CacheFullError(concat("a sequence of ", length,
                                " tokens can never fit into the cache of ", slots,
                                " tokens: raise kv_cache_bytes"));
  }
}

std::int64_t Engine::pages_for(std::int64_t length) const {
  return (length + cache_.page_slots() - 1) / cache_.page_slots();
}

void Engine::note_used_pages() { peak_pages_ = std::max(peak_pages_, cache_.num_used_pages()); }

}  // namespace foresight
