/*
 * stuff.h - the octets of a message on the wire: dot-stuffing, and nothing that
 * could end a message early (with BDAT: at the next host, which may use DATA).
 */
#ifndef SMTP_CLIENT_STUFF_H
#define SMTP_CLIENT_STUFF_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* Zeroed before the first octet of a message, but for what the caller sets. */
struct smtpc_stuff {
	bool mid_line;		/* the last octet was not a line end */
	bool cr;		/* the last octet was a CR whose LF is due */
	bool dirty;		/* a bare CR, a bare LF or a NUL came: send no more */
	bool raw;		/* set by the caller: BDAT, no dots are put in, */
	bool binary;		/* and anything may come */
};

#define SMTPC_STUFF_ROOM 3	/* the fewest iovecs that always allow progress */

/*
 * Appends to v[*nv..room) iovecs that together are the dot-stuffed form of the
 * first octets of p, and returns how many octets of p that is: fewer than n when
 * the iovecs do not suffice; call again with the rest.  The iovecs point into p.
 */
size_t smtpc_stuff(struct smtpc_stuff *, const char *p, size_t n, struct iovec *v, int room,
    int *nv);

/*
 * What ends the message: CRLF if its last line has none, then ".CRLF".  False: it
 * ended in a bare CR (dirty is set).  Takes one iovec.
 */
bool smtpc_stuff_end(struct smtpc_stuff *, struct iovec *v, int *nv);

#endif
