/*
 * What the servers that visitd is measured against have in common.
 *
 * Every peer takes -p PORT, -w WORKERS, -n BYTES (the length of its whole
 * answer, head and body: the same as visitd's) and -f FILE (where it counts,
 * if it counts).  They listen on 127.0.0.1, ignore what is asked, and answer
 * as many times as there are ends of a header section in what came.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>

enum {
	PEER_FDS = 32768,    /* descriptors a worker */
	PEER_RECV = 16384,   /* bytes of one recv, as in visitd */
	PEER_PIPELINE = 512, /* answers in one send */
};

struct peer {
	int port, workers;
	size_t reply_len;
	const char *path;
	char *replies;	  /* PEER_PIPELINE answers in a row */
	char *last_reply; /* one, of the same length, with Connection: close */
	int lfd;
};

/* Reads the options, prepares the answers and listens; exits if it cannot. */
void peer_open(struct peer *p, int argc, char **argv);

/* Forks workers that each run the function; waits until one of them dies. */
void peer_run(struct peer *p, void (*run)(struct peer *));

/*
 * The number of requests that end in the n bytes; *state carries the part of
 * an end that the bytes before have shown.  *close: the last one asked for it.
 */
size_t peer_requests(const char *bytes, size_t n, unsigned char *state,
		     bool *close);

/* perror and exit 111. */
void peer_die(const char *what);

#endif
