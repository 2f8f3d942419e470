/*
 * fuzz_database.c - any octets as a database of access rules.
 *
 * What must hold: the file is refused, or it serves whoever looks something up in it: no octet
 * outside of it is read, and each record says what rules say.  The input is the file, from its 2049th octet on,
 * behind a table of positions that its first octets choose.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "../../../tests/fuzz/fuzz.h"
#include "../lookup.h"

#define HEAD 2048

/* Good ones: a record of "" at 2048, whose hash is 5381; one of "1.".  A hostile one. */
static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("\x05\x01" "\0\0\0\0" "\x02\0\0\0" "D\0" "\x05\x15\0\0" "\0\x08\0\0"),
	FUZZ_INPUT("\x08\x02" "\x02\0\0\0" "\x06\0\0\0" "1." "+A=12\0" "\x3a\x68\x59\x00" "\0\x08\0\0" "\0\0\0\0" "\0\0\0\0"),
	FUZZ_INPUT("\x05\x01\x08\0\0\0\xff\xff\xff\xff::/0"),
};

static void look_up(const struct tcpr_db *db, const char *ip)
{
	volatile char sum = 0;
	struct tcpr_item item;
	struct ga_str data;
	char key[TCPR_KEY];
	bool bad = false;

	if (!tcpr_lookup(db, ga_str_c(ip), key, &data))
		return;
	for (size_t i = 0; i < data.n; i++)
		sum = (char)(sum + data.p[i]);
	while (tcpr_item_next(&data, &item, &bad))
		FUZZ_CHECK(item.what != TCPR_SET || item.value.p + item.value.n + 1 == data.p);
	FUZZ_CHECK(!bad && data.n == 0);
}

/* slots of every table lie behind the records, which are `records` octets */
static void put_head(uint8_t head[HEAD], uint8_t slots, uint32_t position)
{
	for (size_t i = 0; i < HEAD; i += 8) {
		uint8_t entry[8] = { (uint8_t)position, (uint8_t)(position >> 8), 0, 0, slots, 0, 0, 0 };

		memcpy(head + i, entry, sizeof entry);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t head[HEAD];
	struct tcpr_db *db;
	const char *why = NULL;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || n < 2)
		return fd >= 0 ? close(fd) : 0;
	put_head(head, data[1], HEAD + (data[0] * 2u < n ? data[0] * 2u : (uint32_t)n));
	FUZZ_CHECK(write(fd, head, HEAD) == HEAD && write(fd, data + 2, n - 2) == (ssize_t)n - 2);
	db = tcpr_db_of(fd, &why);
	close(fd);
	FUZZ_CHECK(db != NULL || why != NULL);
	if (db == NULL)
		return 0;
	look_up(db, "127.0.0.1");
	look_up(db, "2001:db8::1");
	look_up(db, "");
	tcpr_db_unref(db);
	return 0;
}

FUZZ_MAIN(inputs);
