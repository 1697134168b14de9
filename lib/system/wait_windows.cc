#include "lib/system/wait.h"

#include "lib/system/windows.h"

namespace glint {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void Wait(const std::atomic<uint32_t>& number, uint32_t old) {
  WaitOnAddress(const_cast<std::atomic<uint32_t>*>(&number), &old, sizeof old, INFINITE);
}
void WakeOne(std::atomic<uint32_t>& number) { WakeByAddressSingle(&number); }
void WakeAll(std::atomic<uint32_t>& number) { WakeByAddressAll(&number); }

}  // namespace glint
