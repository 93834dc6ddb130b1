//! The PID file: the number of the process that serves, for programs that send it signals. A thread of its own writes it, because a
//! file system may hang; the control thread gives orders and receives events.

use super::event::{Event, Job};
use super::report::warn;
use crate::net::file::{kind_of, open_regular};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// How long the PID file may take to be written, or to be removed again: on a file system that hangs it is done without.
pub(super) const PID_FILE_WAIT: Duration = Duration::from_secs(2);

/// Octets read of a PID file, to see whose it is: more than any process number has.
const READ_BYTES_MAX: u64 = 32;

/// The file as the control thread knows it.
#[derive(Debug)]
pub(super) struct PidFile {
    events: Sender<Event>,
    /// It is none of the files that a number may be written to.
    config_file: Option<PathBuf>,
    /// To the thread, which is started with the first file.
    orders: Option<Sender<Order>>,
    /// Where it is.
    path: Option<PathBuf>,
    /// What was asked for last, and no answer came yet.
    asked: Option<(Job, Option<PathBuf>)>,
}

#[derive(Debug)]
enum Order {
    /// Write it under another name beside that path.
    Stage(Job, PathBuf),
    /// Put what was staged into its place.
    Put(Job),
    /// Write it there, or nowhere, and remove it from where it was.
    Follow(Job, Option<PathBuf>),
    /// Remove it.
    Remove,
}

impl PidFile {
    /// No file yet.
    pub(super) fn new(config_file: Option<&Path>, events: Sender<Event>) -> Self {
        let config_file = config_file.map(Path::to_path_buf);
        Self { events, config_file, orders: None, path: None, asked: None }
    }

    /// Writes it beside `path`: whether it can be written is known before anybody relies on it. False where there is nothing to
    /// do; else [`Event::PidFileWritten`] follows.
    pub(super) fn stage(&mut self, job: Job, path: Option<&Path>) -> bool {
        let Some(path) = path else { return false };
        self.order(job, Some(path), Order::Stage(job, path.to_path_buf()))
    }

    /// Puts what was staged into its place. False where there is nothing to do; else [`Event::PidFileWritten`] follows.
    pub(super) fn put(&mut self, job: Job) -> bool {
        let path = self.path.clone();
        path.is_some() && self.order(job, path.as_deref(), Order::Put(job))
    }

    /// Writes it elsewhere, or nowhere. False where it is there already; else [`Event::PidFileWritten`] follows.
    pub(super) fn follow(&mut self, job: Job, wanted: Option<&Path>) -> bool {
        self.path.as_deref() != wanted
            && self.order(job, wanted, Order::Follow(job, wanted.map(Path::to_path_buf)))
    }

    /// Removes it, unless it is another process's by now. False where there is none; else [`Event::PidFileRemoved`] follows.
    pub(super) fn remove(&mut self) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(Order::Remove).is_ok())
    }

    /// Takes the answer to what was asked for last. False where it is the answer to something that was given up.
    pub(super) fn settle(&mut self, job: Job, is_written: bool) -> bool {
        let Some((asked, path)) = self.asked.take_if(|(asked, _)| *asked == job) else { return false };
        debug_assert_eq!(asked, job);
        if is_written {
            self.path = path;
        }
        true
    }

    /// Where it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn order(&mut self, job: Job, path: Option<&Path>, order: Order) -> bool {
        if self.orders.is_none() {
            let (orders, received) = mpsc::channel();
            let (events, config_file) = (self.events.clone(), self.config_file.clone());
            let thread = std::thread::Builder::new().name("pid-file".to_owned());
            // Without a thread the order finds nobody.
            let _ = thread.spawn(move || keep(&received, &events, config_file.as_deref()));
            self.orders = Some(orders);
        }
        self.asked = Some((job, path.map(Path::to_path_buf)));
        if self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok()) {
            return true;
        }
        self.orders = None;
        let words = Err(String::from("the PID file cannot be written: no thread is left"));
        self.events.send(Event::PidFileWritten(job, words)).is_ok()
    }
}

/// The thread.
fn keep(received: &Receiver<Order>, events: &Sender<Event>, config_file: Option<&Path>) {
    let (mut written, mut staged) = (Written::default(), None);
    for order in received {
        let event = match order {
            Order::Stage(job, path) => {
                let result = Staged::write(&path, config_file).map(|new| staged = Some(new));
                Event::PidFileWritten(job, result)
            }
            Order::Put(job) => {
                let result = staged.take().map_or(Ok(Written::default()), Staged::put);
                Event::PidFileWritten(job, result.map(|new| written = new))
            }
            Order::Follow(job, path) => {
                Event::PidFileWritten(job, written.follow(path.as_deref(), config_file))
            }
            Order::Remove => {
                staged = None;
                written = Written::default();
                Event::PidFileRemoved
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// The file, written. It is removed when this value goes, unless another process has put its number there.
#[derive(Debug, Default)]
struct Written {
    path: Option<PathBuf>,
}

/// The file as it will be, under another name beside it.
#[derive(Debug)]
struct Staged {
    /// The name to be, and the name until then.
    paths: Option<(PathBuf, PathBuf)>,
}

impl Staged {
    /// Writes the number beside `path`.
    ///
    /// # Errors
    /// In words: it cannot be written there.
    fn write(path: &Path, config_file: Option<&Path>) -> Result<Self, String> {
        if let Ok(there) = fs::metadata(path)
            && let Some(reason) = why_not(path, &there, config_file)
        {
            return Err(format!("the PID file {} cannot be written: {reason}", path.display()));
        }
        let number = std::process::id();
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let beside = PathBuf::from(name);
        // What a process of the same number left is in the way; a link that somebody put there is never followed.
        let _ = fs::remove_file(&beside);
        let opened = OpenOptions::new().write(true).create_new(true).open(&beside);
        let staged = Self { paths: Some((path.to_path_buf(), beside)) };
        opened
            .and_then(|mut file| file.write_all(format!("{number}\n").as_bytes()))
            .map_err(|error| refused(path, &error))?;
        Ok(staged)
    }

    /// Renames it to its final name: a reader finds the old number or this one, never a part.
    fn put(mut self) -> Result<Written, String> {
        let Some((path, beside)) = self.paths.take() else { return Ok(Written::default()) };
        match fs::rename(&beside, &path) {
            Ok(()) => Ok(Written { path: Some(path) }),
            Err(error) => {
                let _ = fs::remove_file(beside);
                Err(refused(&path, &error))
            }
        }
    }
}

fn refused(path: &Path, error: &io::Error) -> String {
    format!("the PID file {} cannot be written: {error}", path.display())
}

/// Only a regular file that holds a number, or nothing, is written over, and never the configuration; why not, in words.
fn why_not(path: &Path, there: &Metadata, config_file: Option<&Path>) -> Option<String> {
    if !there.is_file() {
        return Some(format!("it is {}, not a regular file", kind_of(there.file_type())));
    }
    if let Some(config) = config_file.and_then(|path| fs::metadata(path).ok())
        && (config.dev(), config.ino()) == (there.dev(), there.ino())
    {
        return Some(String::from("it is the configuration file"));
    }
    // One that cannot be read tells nothing.
    let holds_other = match number_in(path) {
        Ok(text) => !text.trim().bytes().all(|octet| octet.is_ascii_digit()),
        Err(error) => error.kind() == io::ErrorKind::InvalidData,
    };
    (holds_other || there.len() > READ_BYTES_MAX)
        .then(|| String::from("it holds something else than a number"))
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some((_, beside)) = self.paths.take() {
            let _ = fs::remove_file(beside);
        }
    }
}

impl Written {
    /// Writes it elsewhere, or nowhere, and removes it from where it was.
    ///
    /// # Errors
    /// In words: it cannot be written there, and stays as it was.
    fn follow(&mut self, wanted: Option<&Path>, config_file: Option<&Path>) -> Result<(), String> {
        if self.path.as_deref() != wanted {
            *self = match wanted {
                Some(path) => Staged::write(path, config_file)?.put()?,
                None => Self::default(),
            };
        }
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let number = std::process::id().to_string();
        match number_in(&path) {
            Ok(text) if text.trim() == number => {
                let _ = fs::remove_file(path);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn(format_args!("the PID file {} is left there: {error}", path.display())),
        }
    }
}

/// The beginning of a regular file. Whatever somebody put in its place is not waited for.
fn number_in(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(READ_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::file::make_fifo;
    use std::os::unix::fs::symlink;

    /// A folder of its own for a test.
    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("apex-pid-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_when_it_is_put_and_gone_when_it_is_removed() {
        let folder = folder("put");
        let path = folder.join("pid");
        fs::write(&path, "1\n").unwrap();
        drop(Staged::write(&path, None).unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(&folder).len()), ("1\n", 1));
        let file = Staged::write(&path, None).unwrap().put().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(names(&folder).is_empty());
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn it_stays_where_another_process_has_it() {
        let folder = folder("other");
        let path = folder.join("pid");
        let file = Staged::write(&path, None).unwrap().put().unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(names(&folder), ["pid"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_follows_where_it_can() {
        let folder = folder("follow");
        let mut file = Written::default();
        file.follow(Some(&folder.join("a")), None).unwrap();
        file.follow(Some(&folder.join("b")), None).unwrap();
        assert_eq!(names(&folder), ["b"]);
        let refused = [folder.join("missing/pid"), folder.clone()].map(|path| file.follow(Some(&path), None));
        assert!(
            refused.iter().all(|one| one.as_ref().is_err_and(|words| words.contains("cannot be written")))
        );
        assert_eq!(
            (names(&folder), file.path.as_deref()),
            (vec![String::from("b")], Some(&*folder.join("b")))
        );
        file.follow(None, None).unwrap();
        assert!(names(&folder).is_empty());
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn nothing_but_a_regular_file_is_written_over() {
        let folder = folder("kinds");
        let [config, link, device, fifo] =
            ["apex.toml", "link", "device", "fifo"].map(|name| folder.join(name));
        fs::write(&config, "kept").unwrap();
        let (other, octets) = (folder.join("other"), folder.join("octets"));
        fs::write(&other, "somebody's").unwrap();
        fs::write(&octets, [0xff; 40]).unwrap();
        fs::hard_link(&config, &link).unwrap();
        symlink("/dev/null", &device).unwrap();
        make_fifo(&fifo);
        for (path, reason) in [
            (&config, "it is the configuration file"),
            (&link, "it is the configuration file"),
            (&device, "it is a device, not a regular file"),
            (&PathBuf::from("/dev/null"), "it is a device"),
            (&fifo, "it is a FIFO"),
            (&other, "it holds something else than a number"),
            (&octets, "it holds something else than a number"),
            (&folder, "it is a directory"),
        ] {
            let words = Staged::write(path, Some(&config)).unwrap_err();
            assert!(words.starts_with("the PID file /") && words.contains(reason), "{words}");
        }
        assert_eq!((fs::read_to_string(&config).unwrap().as_str(), names(&folder).len()), ("kept", 6));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_fifo_in_its_place_is_not_waited_for() {
        let folder = folder("fifo");
        let path = folder.join("pid");
        let file = Staged::write(&path, None).unwrap().put().unwrap();
        fs::remove_file(&path).unwrap();
        make_fifo(&path);
        drop(file);
        assert_eq!(names(&folder), ["pid"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn answers_to_what_was_given_up_change_nothing() {
        let folder = folder("late");
        let (events, received) = mpsc::channel();
        let mut file = PidFile::new(None, events);
        assert!(!file.remove() && !file.stage(Job(1), None) && !file.follow(Job(1), None));
        let [first, second] = ["first", "second"].map(|name| folder.join(name));
        assert!(file.follow(Job(1), Some(&first)) && file.follow(Job(2), Some(&second)));
        for (job, is_asked_for) in [(Job(1), false), (Job(2), true)] {
            let Event::PidFileWritten(answered, Ok(())) = received.recv().unwrap() else { panic!("{job:?}") };
            assert_eq!((answered, file.settle(answered, true)), (job, is_asked_for));
        }
        assert_eq!(file.path(), Some(&*second));
        assert!(!file.follow(Job(3), Some(&second)) && file.remove());
        assert!(matches!(received.recv().unwrap(), Event::PidFileRemoved));
        assert!(names(&folder).is_empty());
        fs::remove_dir(folder).unwrap();
    }
}
