#pragma once
#include <atomic>
#include <cstddef>

// Calls of operator new so far, in a program that has count_allocations.cc among its sources.
extern std::atomic<size_t> allocations;
