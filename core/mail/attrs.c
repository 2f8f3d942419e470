/*
 * attrs.c - packed attribute lists (message.h): u16 key, u32 length, octets.
 *
 * Called by whoever makes, stores or reads messages; any thread that owns the
 * list.  Lists also come back from disk, so every length is checked before use
 * and a malformed list ends where it stops making sense.
 */
#include <stdlib.h>
#include <string.h>

#include <greenarrow/message.h>

enum { HEAD = 6, FIRST_ROOM = 256 };

static uint64_t get_le(const char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | (unsigned char)p[n];
	return v;
}

static void put_le(char *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++, v >>= 8)
		p[i] = (char)(v & 0xff);
}

static char *grow(struct ga_attrs *a, size_t by)
{
	if (a->room - a->n < by) {
		size_t room = a->room == 0 ? FIRST_ROOM : a->room * 2;

		a->room = room - a->n < by ? a->n + by : room;
		a->p = ga_xrealloc(a->p, a->room);
	}
	a->n += by;
	return a->p + a->n - by;
}

void ga_attrs_put(struct ga_attrs *a, unsigned key, struct ga_str value)
{
	char *p;

	if (key > UINT16_MAX || value.n > UINT32_MAX)
		abort();
	p = grow(a, HEAD + value.n);
	put_le(p, key, 2);
	put_le(p + 2, value.n, 4);
	if (value.n > 0)
		memcpy(p + HEAD, value.p, value.n);
}

void ga_attrs_put_u32(struct ga_attrs *a, unsigned key, uint32_t v)
{
	char octets[4];

	put_le(octets, v, sizeof(octets));
	ga_attrs_put(a, key, (struct ga_str){ octets, sizeof(octets) });
}

void ga_attrs_put_u64(struct ga_attrs *a, unsigned key, uint64_t v)
{
	char octets[8];

	put_le(octets, v, sizeof(octets));
	ga_attrs_put(a, key, (struct ga_str){ octets, sizeof(octets) });
}

void ga_attrs_free(struct ga_attrs *a)
{
	free(a->p);
	*a = (struct ga_attrs){ NULL, 0, 0 };
}

bool ga_attr_next(struct ga_str attrs, size_t *pos, unsigned *key, struct ga_str *v)
{
	size_t length;

	if (*pos > attrs.n || attrs.n - *pos < HEAD)
		return false;
	length = get_le(attrs.p + *pos + 2, 4);
	if (attrs.n - *pos - HEAD < length)
		return false;
	*key = (unsigned)get_le(attrs.p + *pos, 2);
	*v = (struct ga_str){ attrs.p + *pos + HEAD, length };
	*pos += HEAD + length;
	return true;
}

bool ga_attr_get(struct ga_str attrs, unsigned key, struct ga_str *v)
{
	size_t pos = 0;
	unsigned k;

	while (ga_attr_next(attrs, &pos, &k, v))
		if (k == key)
			return true;
	*v = (struct ga_str){ "", 0 };
	return false;
}

uint32_t ga_attr_u32(struct ga_str attrs, unsigned key, uint32_t absent)
{
	struct ga_str v;

	return ga_attr_get(attrs, key, &v) && v.n == 4 ? (uint32_t)get_le(v.p, 4) : absent;
}

uint64_t ga_attr_u64(struct ga_str attrs, unsigned key, uint64_t absent)
{
	struct ga_str v;

	return ga_attr_get(attrs, key, &v) && v.n == 8 ? get_le(v.p, 8) : absent;
}

bool ga_attrs_valid(struct ga_str attrs)
{
	size_t pos = 0;
	unsigned key;
	struct ga_str v;

	while (ga_attr_next(attrs, &pos, &key, &v))
		;
	return pos == attrs.n;
}
