/*
 * room.h - whether a file that grows could grow now
 *
 * A visit of a counter that is there writes in place, and the probe of /health
 * makes no file and lets none grow: neither finds out that the disk is full, or
 * that a file that is still to be made cannot be. What does:
 *
 * 1. What the last append of any worker said. It alone would never end: who is
 *    told that a server is ill sends no visitor who could try again.
 * 2. The free space that the file system tells. It alone knows nothing of
 *    quotas, and may say zero and be wrong.
 * 3. If one of them is in doubt, the kernel is asked to set a row's bytes aside
 *    behind the end of the file (which does not grow), and they are given back;
 *    for a file that is not there, always, in a file without a name. That heeds
 *    quotas and rights, and needs no append. A file system that cannot do so is
 *    believed as to 2.
 */
#ifndef STORE_FILE_ROOM_H
#define STORE_FILE_ROOM_H

#include "store/file/disk.h"

/* Notes what an append to the file said: 0, or errno, which is kept. */
void room_note(const struct disk_file *file, int error);

/*
 * Gives 0, or 503 with the reason noted, which names the file. Makes no file
 * and changes none. Called under the lock that guards the file; it is open if
 * it is there.
 */
int room_check(const struct disk_file *file);

/* The same of a file that is not locked and need not be open. Waits for its
 * lock only if in doubt, and briefly. */
int room_look(const struct disk_file *file, int64_t deadline);

#endif
