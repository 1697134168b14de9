#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/session.h"

// A sequence as bytes: ids, position state, the row of logits and what the cache holds of it. A session
// that is restored goes on with the bits of the one that was saved, whatever its threads, chunks and
// context. docs/FORMAT.md 11 is the format. What an app shows of a conversation is not in it: the app
// keeps its own messages (Chat::history()) beside it, and a Chat that asks with these finds the cache
// filled, where the model is causal.
namespace glint {

// Throws Error if there is no sequence, or if the model (or an adapter) has no hash, as in a direct
// run. The session must not be running.
std::vector<uint8_t> SaveSession(const Session& session);

// Puts the sequence into the session in place of its own. `where` begins messages. The model, the
// adapters in use, the numerics, the types of cache and output must be those that the image names, and
// the context must hold its tokens. Throws Error saying which is not so, or what is damaged: the session
// then has no sequence. Whatever the bytes are, nothing is allocated by them. In a model with windows
// the sequence cannot be cut to fewer tokens afterwards (Session::Truncate).
void RestoreSession(Session& session, std::span<const uint8_t> image, const std::string& where);

// The same in a file, which appears complete or not at all (formats/output_file.h). Throws Error.
void SaveSessionFile(const Session& session, const std::string& path, bool overwrite);
void RestoreSessionFile(Session& session, const std::string& path);

}  // namespace glint
