/* A chat/completions upstream that says what it is told to: upstream PORT
 *
 * The order stands anywhere in the request's body: "bench:KIND:DELTAS:RATE", KIND being text, tool, reasoning or mixed
 * (text, then a tool call), RATE the deltas a second of each stream, 0 for as fast as the socket takes them. Each
 * delta is one HTTP chunk, as vendors send them, and carries a stamp (see net.h).
 */
#include "net.h"

enum kind { TEXT, TOOL, REASONING, MIXED };

typedef struct stream {
    int fd, index; /* index: in the list of paced streams, -1 when it is not there */
    buffer in, out;
    int blocked, running;
    enum kind kind;
    long deltas, said;
    uint64_t gap, due;
} stream;

static int epoll_fd;
static stream **paced;
static int paced_count, paced_room;

#define HEAD "data: {\"id\":\"chatcmpl-bench0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1790000000," \
             "\"model\":\"bench-1\",\"system_fingerprint\":\"fp_bench\",\"choices\":["
#define CHOICE(delta, finish) HEAD "{\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"

static void chunk(stream *to, const char *format, ...) {
    char text[1024], size[16];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    append(&to->out, size, (size_t)snprintf(size, sizeof size, "%x\r\n", length));
    append(&to->out, text, (size_t)length);
    append(&to->out, "\r\n", 2);
}

static void leave_list(stream *it) {
    if (it->index < 0) return;
    paced[it->index] = paced[--paced_count];
    paced[it->index]->index = it->index;
    it->index = -1;
}

static void join_list(stream *it) {
    if (it->index >= 0) return;
    if (paced_count == paced_room) {
        paced_room = paced_room ? paced_room * 2 : 256;
        paced = realloc(paced, (size_t)paced_room * sizeof *paced);
    }
    it->index = paced_count;
    paced[paced_count++] = it;
}

static int is_tool(stream *it, long number) {
    return it->kind == TOOL || (it->kind == MIXED && number > it->deltas / 2);
}

/* Delta number 1 to N. The first of a tool call opens it, and has no stamp. */
static void say_delta(stream *to, long number) {
    char stamp[STAMP_SIZE + 1];
    snprintf(stamp, sizeof stamp, "%016llx", (unsigned long long)now_ns());
    if (is_tool(to, number)) {
        int opens = number == 1 || !is_tool(to, number - 1);
        if (opens)
            chunk(to, CHOICE("\"tool_calls\":[{\"index\":0,\"id\":\"call_bench\",\"type\":\"function\",\"function\":"
                             "{\"name\":\"tool_0\",\"arguments\":\"{\\\"a\\\":\\\"\"}}]", "null"));
        else
            chunk(to, CHOICE("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"%c%s%s\"}}]", "null"), MARK, stamp,
                  number == to->deltas ? "\\\"}" : "");
    } else if (to->kind == REASONING && number <= to->deltas / 2)
        chunk(to, CHOICE("\"reasoning_content\":\"%c%s \"", "null"), MARK, stamp);
    else
        chunk(to, CHOICE("\"content\":\"%c%s \"", "null"), MARK, stamp);
}

static void say_next(stream *to) {
    long number = ++to->said;
    if (number <= to->deltas) {
        say_delta(to, number);
        return;
    }
    if (to->kind == TOOL || to->kind == MIXED)
        chunk(to, CHOICE("", "\"tool_calls\""));
    else
        chunk(to, CHOICE("", "\"stop\""));
    chunk(to, HEAD "],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\n", to->deltas,
          to->deltas + 1000);
    chunk(to, "data: [DONE]\n\n");
    append(&to->out, "0\r\n\r\n", 5);
    to->running = 0;
    leave_list(to);
}

static void drop(stream *it) {
    leave_list(it);
    close(it->fd);
    release(&it->in);
    release(&it->out);
    free(it);
}

/* Send what there is. Returns -1 when the stream is dead. */
static int flush(stream *it) {
    while (it->out.begin < it->out.size) {
        ssize_t sent = send(it->fd, it->out.data + it->out.begin, it->out.size - it->out.begin, 0);
        if (sent < 0) {
            if (errno != EAGAIN) return -1;
            if (!it->blocked) watch(epoll_fd, EPOLL_CTL_MOD, it->fd, EPOLLIN | EPOLLOUT, it);
            it->blocked = 1;
            return 0;
        }
        it->out.begin += (size_t)sent;
    }
    forget(&it->out);
    if (it->blocked) watch(epoll_fd, EPOLL_CTL_MOD, it->fd, EPOLLIN, it);
    it->blocked = 0;
    return 0;
}

/* Say what is due. Returns -1 when the stream is dead. */
static int go_on(stream *it, uint64_t now) {
    if (it->gap) {
        while (it->running && it->due <= now) {
            say_next(it);
            it->due += it->gap;
            while (it->running && it->said >= it->deltas) say_next(it); /* the end needs no waiting */
        }
        return flush(it);
    }
    for (int turn = 0; turn < 4 && !it->blocked; turn++) { /* then somebody else's turn */
        while (it->running && it->out.size < 60000) say_next(it);
        if (flush(it) < 0) return -1;
        if (!it->running) break;
    }
    if (it->running) join_list(it);
    return 0;
}

static int begin(stream *it, const char *body, size_t size) {
    char kind[16] = "text";
    double rate = 0;
    const char *order = memmem(body, size, "bench:", 6);
    it->deltas = 10;
    if (order) sscanf(order, "bench:%15[a-z]:%ld:%lf", kind, &it->deltas, &rate);
    it->kind = !strcmp(kind, "tool") ? TOOL : !strcmp(kind, "reasoning") ? REASONING : !strcmp(kind, "mixed") ? MIXED : TEXT;
    it->gap = rate > 0 ? (uint64_t)(1e9 / rate) : 0;
    uint64_t now = now_ns();
    it->due = now + (it->gap ? (uint64_t)rand() % it->gap : 0); /* so that not all streams speak at once */
    it->said = 0;
    it->running = 1;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
                               "Transfer-Encoding: chunked\r\nX-Request-Id: req_bench\r\n\r\n";
    append(&it->out, head, sizeof head - 1);
    chunk(it, CHOICE("\"role\":\"assistant\",\"content\":\"\"", "null"));
    if (it->gap) join_list(it);
    return go_on(it, now);
}

/* Returns -1 when the stream is dead. */
static int readable(stream *it) {
    for (;;) {
        char *to = reserve(&it->in, 65537);
        ssize_t got = recv(it->fd, to, 65536, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
        if (got < 0) break;
        it->in.size += (size_t)got;
    }
    while (!it->running && it->in.size) {
        it->in.data[it->in.size] = 0;
        char *end = memmem(it->in.data, it->in.size, "\r\n\r\n", 4);
        if (!end) return 0;
        size_t head = (size_t)(end + 4 - it->in.data);
        char *length = strcasestr(it->in.data, "\r\ncontent-length:");
        size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (it->in.size < head + body) return 0;
        int outcome = begin(it, it->in.data + head, body);
        memmove(it->in.data, it->in.data + head + body, it->in.size - head - body);
        it->in.size -= head + body;
        if (!it->in.size) release(&it->in);
        if (outcome < 0) return -1;
    }
    return 0;
}

static void accept_all(int listening) {
    int fd;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        stream *it = calloc(1, sizeof *it);
        it->fd = fd;
        it->index = -1;
        no_delay(fd);
        watch(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, it);
    }
}

/* To the nanosecond: in steps of a millisecond several streams' deltas would leave together, and cost less each. */
static struct timespec wait_time(uint64_t now) {
    uint64_t next = now + 1000000000u;
    for (int i = 0; i < paced_count; i++) {
        uint64_t due = paced[i]->blocked ? next : paced[i]->gap ? paced[i]->due : now;
        if (due < next) next = due;
    }
    uint64_t left = next <= now ? 0 : next - now;
    return (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
}

int main(int count, char **words) {
    many_files();
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = loopback(count > 1 ? atoi(words[1]) : 0);
    if (bind(listening, (void *)&address, sizeof address) || listen(listening, 8192)) {
        perror("upstream");
        return 1;
    }
    epoll_fd = epoll_create1(0);
    watch(epoll_fd, EPOLL_CTL_ADD, listening, EPOLLIN, NULL);
    struct epoll_event events[512];
    for (;;) {
        struct timespec wait = wait_time(now_ns());
        int ready = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            stream *it = events[i].data.ptr;
            if (!it) {
                accept_all(listening);
                continue;
            }
            int dead = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && readable(it) < 0;
            if (!dead && (events[i].events & EPOLLOUT)) dead = flush(it) < 0 || (it->running && go_on(it, now_ns()) < 0);
            if (dead) drop(it);
        }
        uint64_t now = now_ns();
        for (int i = paced_count - 1; i >= 0; i--) {
            if (i >= paced_count) continue;
            stream *it = paced[i];
            if (it->blocked || (it->gap && it->due > now)) continue;
            if (!it->gap) leave_list(it);
            if (go_on(it, now) < 0) drop(it);
        }
    }
}
