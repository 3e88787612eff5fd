//! Programs around a session: how they end.

use std::{cell::Cell, future::pending, rc::Rc, time::Duration};

use reseed_client::{
    App, AppOptions, Disk, DownloadOptions, ExitWhen, MemoryDisk, ResumeData, ShutdownOptions,
    TokioEnv, TokioNetwork, WaitsForItself,
};
use reseed_protocol::State;
use tokio::sync::mpsc;

use crate::{CONTENT, full, metainfo, options, run, session};

async fn app(
    disk: MemoryDisk,
    exit_when: Option<ExitWhen>,
    shutdown: ShutdownOptions,
) -> App<TokioNetwork, TokioEnv, MemoryDisk> {
    let options = AppOptions {
        session: options(),
        exit_when,
        poll_interval: Duration::from_millis(10),
        shutdown,
    };
    App::start(TokioNetwork::new(), TokioEnv::with_seed(1), disk, options).await.unwrap()
}

fn has_resume_data(disk: &MemoryDisk) -> bool {
    disk.read(&ResumeData::path(metainfo(CONTENT).info_hash), 10_000).unwrap().is_some()
}

#[test]
fn a_program_exits_when_its_download_is_finished_and_has_saved() {
    run(async {
        let seeder = session(2, full(CONTENT)).await;
        seeder.add(metainfo(CONTENT), DownloadOptions::default()).unwrap();
        let disk = MemoryDisk::new(1 << 20);
        let (exit_when, shutdown) = (Some(ExitWhen::AllFinished), ShutdownOptions::default());
        let mut app = app(disk.clone(), exit_when, shutdown).await;
        let peers = vec![seeder.local_addr()];
        let options = DownloadOptions { peers, ..DownloadOptions::default() };
        app.add(metainfo(CONTENT), options).unwrap();
        let (_nobody, interrupts) = mpsc::unbounded_channel();
        app.run(interrupts).await;
        assert!(has_resume_data(&disk));
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
    });
}

#[test]
fn who_wants_no_checkpoint_gets_none_and_ends_as_well() {
    run(async {
        let disk = full(CONTENT);
        let shutdown = ShutdownOptions { checkpoint: false, ..ShutdownOptions::default() };
        let mut app = app(disk.clone(), Some(ExitWhen::AllFinished), shutdown).await;
        let download = app.add(metainfo(CONTENT), DownloadOptions::default()).unwrap();
        let (_nobody, interrupts) = mpsc::unbounded_channel();
        app.run(interrupts).await;
        assert!(download.status().state.is_over());
        assert!(!has_resume_data(&disk));
    });
}

#[test]
fn a_program_that_plays_exits_at_the_end_of_the_playback() {
    run(async {
        let mut app = app(full(CONTENT), Some(ExitWhen::Played), ShutdownOptions::default()).await;
        app.add(metainfo(CONTENT), DownloadOptions::default()).unwrap();
        let ended = Rc::new(Cell::new(false));
        let told = ended.clone();
        app.play(async move {
            tokio::task::yield_now().await;
            told.set(true);
        });
        let (_nobody, interrupts) = mpsc::unbounded_channel();
        app.run(interrupts).await;
        assert!(ended.get());
    });
}

#[test]
fn ctrl_c_ends_it_and_a_second_one_and_a_blocked_callback_do_no_harm() {
    run(async {
        let disk = full(CONTENT);
        let shutdown = ShutdownOptions { grace: Duration::from_millis(50), checkpoint: true };
        let mut app = app(disk.clone(), None, shutdown).await;
        let download = app.add(metainfo(CONTENT), DownloadOptions::default()).unwrap();
        app.callbacks().submit("blocked", pending()).unwrap();
        let (user, interrupts) = mpsc::unbounded_channel();
        let running = app.run(interrupts);
        let interrupting = async {
            download.wait_for(|status| status.state == State::Seeding).await;
            user.send(()).unwrap();
            tokio::task::yield_now().await;
            user.send(()).unwrap();
        };
        futures_util::future::join(running, interrupting).await;
        assert!(has_resume_data(&disk));
    });
}

#[test]
fn a_callback_that_shuts_the_session_down_is_told_that_it_waits_for_itself() {
    run(async {
        let session = Rc::new(session(1, full(CONTENT)).await);
        let (told, answer) = tokio::sync::oneshot::channel();
        let inner = session.clone();
        let callback = async move {
            let _ = told.send(inner.shutdown(ShutdownOptions::default()).await);
        };
        session.callbacks().submit("shutdown", callback).unwrap();
        let worker = "callback worker 1";
        assert_eq!(answer.await, Ok(Err(WaitsForItself { worker })));
        session.shutdown(ShutdownOptions::default()).await.unwrap();
        assert!(session.tasks().is_empty());
    });
}
