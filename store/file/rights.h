/*
 * rights.h - what to do about "Permission denied"
 *
 * Each is called after a call that has failed, notes why by errno (failure.h)
 * and gives 503. With EACCES the reason tells whose the file or folder is, who
 * asks, and the command that mends it.
 */
#ifndef STORE_FILE_RIGHTS_H
#define STORE_FILE_RIGHTS_H

/* A file could not be opened, written or replaced: `verb`. One command is told
 * for all files of the store that are in its folder. */
int rights_fail(const char *verb, const char *path);

/* A folder that is there could not be reached: `what` is the reason without
 * that. */
int rights_fail_enter(const char *what, const char *folder);

/* DATA_DIR could not be made. */
int rights_fail_make(const char *folder);

#endif
