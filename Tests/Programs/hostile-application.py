"""The uid that owns the top of FILES_DIRECTORY, in somebody else's hands: does there what it can, at random moments, until it is ended.

hostile-application.py DIRECTORY OUTSIDE: OUTSIDE is a tree that it wants changed and may not enter.
"""
import ctypes, json, os, random, shutil, sys, time

directory, outside = sys.argv[1:]
os.chdir(directory)
libc = ctypes.CDLL(None, use_errno=True)
work, ids = '.backup-restore', ['20200101T000000Z']


def exchange(a, b):
    libc.syscall({'x86_64': 316, 'aarch64': 276}[os.uname().machine], -100, a.encode(), -100, b.encode(), 2)


def name():
    # Also those of the restore that is on its way: its second can be guessed.
    return random.choice(ids + [time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(time.time() - s)) for s in range(9)])


def journal(place):
    path = random.choice(['../' + os.path.basename(outside) + '/word', 'word', 'd/e/f', outside + '/word', '.backup-restore'])
    entry = {'path': path, 'staged': {'inode': random.randrange(1, 1 << 20)}, 'live': None}
    phase = random.choice(['ready', 'replacing', 'done', 'discarding'])
    with open(place, 'w') as file:
        json.dump({'id': name(), 'phase': phase, 'renames': [], 'paths': [], 'entries': [entry], 'root': {'user': 0, 'group': 0, 'mode': 0o777}}, file)


def plant():
    os.mkdir(work, 0o777)
    for _ in range(3):
        place = os.path.join(work, name())
        if random.random() < 0.3:
            os.symlink(os.path.join(outside, ids[0]), place)
            continue
        os.mkdir(place)
        os.symlink(os.path.join(outside, 'word'), os.path.join(place, 'journal.json.new'))
        random.choice([lambda: os.symlink(outside, os.path.join(place, 'tree')), lambda: os.makedirs(os.path.join(place, 'tree', 'd'))])()
        random.choice([lambda: os.symlink(os.path.join(outside, 'word'), os.path.join(place, 'journal.json')),
                       lambda: os.mkfifo(os.path.join(place, 'journal.json')), lambda: journal(os.path.join(place, 'journal.json'))])()


def clear():
    if os.path.islink(work) or not os.path.isdir(work):
        os.unlink(work)
    elif os.stat(work).st_uid == os.getuid():
        shutil.rmtree(work)


def flip():
    # A directory, and a link to one outside, change places again and again.
    for a, target in (('d', outside + '/d'), ('word', outside + '/word'), (work, outside)):
        if not os.path.lexists(a + '.link'):
            os.symlink(target, a + '.link')
    a = random.choice(['d', 'd', 'word', work])
    for _ in range(random.randrange(1, 40)):
        exchange(a, a + '.link')


actions = [
    plant, clear, clear, flip, flip,
    lambda: os.rename(work, f'.own.{random.randrange(3)}'),
    lambda: os.rename(f'.own.{random.randrange(3)}', work),
    lambda: os.symlink(outside, work), lambda: os.mkfifo(work), lambda: open(work, 'x').close(),
    lambda: os.link('word', f'hard.{random.randrange(9)}'),
    lambda: (os.makedirs('d/e', exist_ok=True), open('d/e/f', 'w').write('mine\n')),
    lambda: os.rename('d', f'd.{random.randrange(9)}'), lambda: os.rename(f'd.{random.randrange(9)}', 'd'),
]
while True:
    try:
        random.choice(actions)()
    except OSError:
        pass
    time.sleep(random.choice([0, 0, 0.001, 0.02]))
