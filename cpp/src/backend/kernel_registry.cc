#include "backend/kernel_registry.h"

#include <algorithm>

namespace foresight {

void KernelRegistry::set(const char* op, Isa isa, AnyFunction function) {
  variants_[op][static_cast<std::size_t>(isa)] = function;
}

KernelRegistry::AnyFunction KernelRegistry::find(std::string_view op, Isa isa) const {
  const auto found = variants_.find(op);
  FORESIGHT_CHECK(found != variants_.end(), concat("no kernel is registered for op ", op));
  for (int level = static_cast<int>(isa); level >= 0; --level) {
    const AnyFunction function = found->second[static_cast<std::size_t>(level)];
    if (function != nullptr) return function;
  }
  FORESIGHT_CHECK(false, concat("op ", op, " has no variant for ", name_of(isa), " or below"));
  return nullptr;
}

bool KernelRegistry::has_variant(std::string_view op, Isa isa) const {
  const auto found = variants_.find(op);
  return found != variants_.end() && found->second[static_cast<std::size_t>(isa)] != nullptr;
}

std::vector<std::string> KernelRegistry::op_names() const {
  std::vector<std::string> names;
  for (const auto& [name, functions] : variants_) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace foresight
