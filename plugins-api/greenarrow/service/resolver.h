/*
 * resolver.h - service "resolver": DNS, asynchronous.  Level strict.
 *
 * The core provides one over libunbound; a module may replace it.  Called on a
 * loop; each question ends in exactly one callback on that loop, never inside
 * the call, also when cancelled (then answer is NULL).
 */
#ifndef GREENARROW_SERVICE_RESOLVER_H
#define GREENARROW_SERVICE_RESOLVER_H

#include <greenarrow/loop.h>
#include <greenarrow/net.h>

GA_BEGIN

#define GA_RESOLVER_SERVICE "resolver"
#define GA_RESOLVER_VERSION 1

enum ga_rrtype { GA_DNS_A = 1, GA_DNS_CNAME = 5, GA_DNS_PTR = 12, GA_DNS_MX = 15,
	GA_DNS_TXT = 16, GA_DNS_AAAA = 28, GA_DNS_TLSA = 52 };

struct ga_dns_question;
/*
 * answer is borrowed for the call.  rcode 0 with n 0: no data of that type; 3: no such
 * name (also a text that can be none); timed_out: nobody answered in time, rcode 2.
 * Of a set of more than GA_DNS_RECORDS records that many are given, of MX those
 * with the best preference.
 */
#define GA_DNS_RECORDS 512
typedef void ga_dns_fn(struct ga_worker *, const struct ga_dns_answer *, void *arg);

struct ga_resolver {
	uint32_t size, version;
	struct ga_dns_question *(*ask)(struct ga_worker *, struct ga_str name,
	    unsigned rrtype, ga_dns_fn *, void *arg);
	void (*cancel)(struct ga_dns_question *);
};

/*
 * rdata, which is whatever a stranger put into his zone.  Names come out in
 * presentation form, lower case, without trailing dot ("" for the root), NUL
 * terminated, and only when they are host names: labels of letters, digits, '-'
 * and '_'.  False: malformed, octets behind the end, another kind of name, or no room.
 */
#define GA_DNS_NAME_ROOM 254
/* rdata of CNAME, PTR, NS. */
GA_EXPORT bool ga_dns_name(struct ga_str rdata, char *name, size_t room);
/* rdata of MX: preference and host; "" is the null MX ".". */
GA_EXPORT bool ga_dns_mx(struct ga_str rdata, uint16_t *preference, char *host, size_t room);
/* rdata of A or AAAA; port 0.  False: wrong length. */
GA_EXPORT bool ga_dns_address(struct ga_str rdata, unsigned rrtype, struct ga_sockaddr *);

GA_END

#endif
