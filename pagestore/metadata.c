/* metadata.c - the public calls on an instance's metadata: part of the message. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "instance.h"

int pagestore_metadata_set(pagestore_instance *i, const char *key, const void *value, size_t length) {
  int status = instance_check(i, NEEDS_PRIVATE);
  if (!status) status = input_name(key, "metadata key");
  if (status) return status;
  if (length > METADATA_BYTES_MAX)
    return fail(PAGESTORE_EQUOTA, "metadata '%s' of %zu bytes: an instance holds at most 1 MiB in all", key, length);
  const state *before = i->message.pending;
  state *pending;
  if ((status = instance_change(i, &pending)) != 0) return status;
  status = state_metadata_set(pending, key, value, length);
  if (status) instance_unchange(i, before);
  if (status == PAGESTORE_EQUOTA)
    return fail(status, "metadata of '%s' is full with '%s': an instance holds at most 1 MiB in all", i->core->name,
                key);
  return status ? fail(status, "no memory for metadata: free some and try again") : 0;
}

int pagestore_metadata_get(pagestore_instance *i, const char *key, void *to, size_t room, size_t *length) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (!status) status = input_name(key, "metadata key");
  if (!status && !to && room) status = input_null("metadata buffer");
  if (status) return status;
  const void *value;
  size_t have;
  if (!state_metadata_get(instance_state(i), key, &value, &have))
    return fail(PAGESTORE_ENOTFOUND, "no metadata '%s' in '%s'", key, i->core->name);
  if (length) *length = have;
  if (have > room)
    return fail(PAGESTORE_EBOUNDS, "metadata '%s' has %zu bytes, the buffer %zu: pass a larger one", key, have, room);
  if (have) memcpy(to, value, have);
  return 0;
}

int pagestore_metadata_each(pagestore_instance *i, pagestore_metadata_fn each, void *env) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  const char *key;
  const void *value;
  size_t at = 0, key_length, length;
  while (state_metadata_next(instance_state(i), &at, &key, &key_length, &value, &length)) {
    char name[NAME_BYTES_MAX + 1];
    memcpy(name, key, key_length);
    name[key_length] = 0;
    int stop = each(env, name, value, length);
    if (stop) return fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
  }
  return 0;
}
