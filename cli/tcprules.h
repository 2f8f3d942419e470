/*
 * tcprules.h - the language of tcprules(1): lines of rules, and the records they make.
 */
#ifndef TCPRULES_H
#define TCPRULES_H

#include <greenarrow/ga_mem.h>

/* One record, in the order of the file; false: no more, please. */
typedef bool tcprules_add_fn(void *arg, struct ga_str key, struct ga_str data);

struct tcprules_fault {
	unsigned line;		/* from 1 */
	const char *why;	/* NULL: add said false */
};

/*
 * What tcprules makes of a text, octet for octet, and besides IPv6 addresses in brackets, which
 * tcprules does not know:
 *
 *	# comment
 *	ADDRESS:allow			ADDRESS:deny,NAME="VALUE"
 *	[2001:db8::1]:allow		[2001:db8::]/32:allow,NAME=/VALUE/
 *
 * data is "D\0" first for deny, then "+NAME=VALUE\0" for each variable.  The key is the address;
 * 1.2.3.4-7 and 1.2-3. make one record a number.  The key of an IPv6 address is as inet_ntop(3) writes
 * it, of a network with /BITS behind it and the bits of the host cleared.
 * Pure.  False: *fault says where; what was added before it counts for nothing.
 */
bool tcprules_compile(struct ga_str text, tcprules_add_fn *, void *arg, struct tcprules_fault *fault);

#endif
